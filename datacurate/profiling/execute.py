"""Run a profile: several adversarial trainings → one rank file.

Dong et al. 2021, section 3.1 and appendix A: train several times with other initial weights and
data order, record for each example at which epochs it is correct under attack, rank by learning
instability, average the ranks over the runs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.formats import provenance, rankfile
from datacurate.formats.assembling import from_runs
from datacurate.outputs import write_text
from datacurate.profiling.concurrency import run_units
from datacurate.profiling.plan import RANKS_SUFFIX, ProfilePlan, plan
from datacurate.profiling.runs import saved_history, train_and_measure
from datacurate.ranks.scores import RunRecord
from datacurate.recipes import ProfileRecipe, as_dict
from datacurate.training import devices
from datacurate.training.checkpoints import save_network
from datacurate.training.history import EpochReport, catastrophic_overfitting
from datacurate.training.loop import Fit
from datacurate.training.planning import training_data
from datacurate.training.schedule import memorizes_from
from datacurate.workers.workspace import kernel_trials, open_workspace


@dataclass(frozen=True)
class ProfileProgress:
    """Progress of a profile after an epoch.

    Attributes
    ----------
    run, runs : int
        `run` is 1-based.
    report : EpochReport
    done : int
        Finished epochs of all runs, of earlier processes too.
    """

    run: int
    runs: int
    report: EpochReport
    done: int


OnEpoch = Callable[[ProfileProgress], None]


def profile(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    checkpoints: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> rankfile.RankFile:
    """Plan a profile and run it; see `plan` and `run`.

    Parameters
    ----------
    recipe : ProfileRecipe
        The first call decides its open fields and saves them with the unfinished work.
    data : DataSet
    out : Path
        ``NAME.ranks.h5``.
    force : bool
        Replace what is at `out`, and forget unfinished work there.
    parallel : int
        How many runs are trained at a time, each in a process. It changes no column, and the same
        call may continue with another number. The first call divides the cores among the runs.
    checkpoints : Path, optional
        A directory for the robust-best network of every run.
    on_epoch : callable, optional

    Returns
    -------
    RankFile
        As written.

    Raises
    ------
    OutputExistsError, UnknownNameError, RecipeError, UsageError
        As `plan` does.
    OutputBusyError, StateError, TrainingError
        As `run` does.
    """
    planned = plan(recipe, data, out, force=force, parallel=parallel)
    return run(planned, checkpoints=checkpoints, on_epoch=on_epoch)


def run(
    plan: ProfilePlan, *, checkpoints: Path | None = None, on_epoch: OnEpoch | None = None
) -> rankfile.RankFile:
    """Run the trainings of a plan and write the ranks.

    The rank file is valid after every finished run. It holds the runs in the order of their seeds;
    a run that finishes before its predecessor waits in the workspace. Killed at any moment, the
    same call continues and arrives at the same columns. The history of every epoch lies beside the
    file as ``NAME.history.jsonl``. The workspace ``NAME.state/`` is removed at the end.

    Parameters
    ----------
    plan : ProfilePlan
    checkpoints : Path, optional
        A directory for the robust-best network of every run.
    on_epoch : callable, optional

    Returns
    -------
    RankFile
        As written.

    Raises
    ------
    OutputBusyError
        If another process is profiling into the same file.
    StateError
        If there is an unfinished profile of another recipe or other data.
    TrainingError
        If a training diverges or runs out of memory. Finished runs are kept.
    """
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    with open_workspace(
        plan.workspace,
        plan.requested,
        plan.recipe,
        plan.work,
        plan.out,
        force=plan.force,
        kernels=plan.execution.trials,
    ) as recipe:
        return _run_trainings(plan, recipe, checkpoints, on_epoch)


def _run_trainings(
    plan: ProfilePlan,
    recipe: ProfileRecipe,
    checkpoints: Path | None,
    on_epoch: OnEpoch | None,
) -> rankfile.RankFile:
    data = training_data(plan.data)
    workspace, out = plan.workspace, plan.out
    records: list[RunRecord] = []
    summaries: list[dict[str, Any]] = []
    histories = [saved_history(workspace, run) for run in range(recipe.runs)]
    ranks: rankfile.RankFile | None = None

    def report(run: int, history: list[EpochReport]) -> None:
        histories[run] = history
        _write_history(out, histories)
        if on_epoch is not None:
            done = sum(map(len, histories))
            on_epoch(ProfileProgress(run + 1, recipe.runs, history[-1], done))

    order = run_units(recipe, data, workspace, plan.concurrency, report)
    with contextlib.closing(order):
        for run in order:
            fitted = train_and_measure(recipe, run, data, workspace, partial(report, run))
            records.append(fitted.record)
            summaries.append(_summarize_run(recipe, run, fitted))
            if checkpoints is not None:
                path = checkpoints / f"{out.name.removesuffix(RANKS_SUFFIX)}.run{run}.pt"
                _save_checkpoint(path, fitted, recipe, plan.data, summaries[-1])
            ranks = _assemble(plan, recipe, records, summaries)
            _write_history(out, histories)
            rankfile.write(out, ranks, force=True)
    assert ranks is not None  # a recipe has at least one run
    return ranks


def _assemble(
    plan: ProfilePlan,
    recipe: ProfileRecipe,
    records: Sequence[RunRecord],
    summaries: Sequence[Mapping[str, Any]],
) -> rankfile.RankFile:
    """Return the rank file of the runs that are finished so far."""
    hardware: dict[str, Any] = {"device": devices.describe(recipe.execution)}
    trials = kernel_trials(plan.workspace)
    if trials is not None:
        hardware["kernels"] = trials
    stated = provenance.of_profile(recipe, summaries, plan.data.train.stated_source, hardware)
    return from_runs(plan.data.train.identity, records, stated, plan.data.trainable)


def _save_checkpoint(
    path: Path,
    fitted: Fit,
    recipe: ProfileRecipe,
    data: DataSet,
    summary: Mapping[str, Any],
) -> None:
    identity = data.train.identity
    save_network(
        path,
        fitted.best,
        recipe.training.model,
        identity.class_names,
        identity.shape,
        {"recipe": as_dict(recipe), "dataset": identity.name, **summary},
    )


def _summarize_run(recipe: ProfileRecipe, run: int, fitted: Fit) -> dict[str, Any]:
    training = recipe.training
    best, last = fitted.at(fitted.best_epoch), fitted.history[-1]
    summary = {
        "seed": recipe.seed + run,
        "device": devices.device_of_unit(recipe.execution, run).device,
        "epochs": len(fitted.history),
        "seconds": round(last.seconds, 3),
        "best_epoch": fitted.best_epoch,
        "clean_accuracy": best.clean,
        "robust_accuracy": best.robust,
        "last_clean_accuracy": last.clean,
        "last_robust_accuracy": last.robust,
        "train_robust_accuracy": last.train_robust,
    }
    if training.attack.steps == 1 and training.method != "standard":
        # The memorisation phase loses robustness on purpose, so only epochs before it count.
        overfitted = catastrophic_overfitting(fitted.history[: memorizes_from(training)])
        if overfitted is not None:
            summary["catastrophic_overfitting"] = overfitted
    return summary


def _write_history(out: Path, histories: Sequence[Sequence[EpochReport]]) -> None:
    # The whole file is written each time. An append that is cut off would leave half a line.
    lines = [
        json.dumps({"run": run, **asdict(epoch)}) + "\n"
        for run, history in enumerate(histories)
        for epoch in history
    ]
    write_text(rankfile.history_path(out), "".join(lines))
