"""Profile a data set: several adversarial trainings → one rank file.

S0, section 3.1 and appendix A: run trainings that differ in initial weights and data order, record
for each example at which epochs it was right under attack, rank by learning instability, average
the ranks over the runs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.errors import FileError, OutputExistsError
from datacurate.formats import provenance, rankfile
from datacurate.formats.assembling import from_runs
from datacurate.nets import check_name
from datacurate.outputs import refuse_existing, write_text
from datacurate.profiling import estimates
from datacurate.profiling.concurrency import runs_in_turn
from datacurate.profiling.estimates import Estimate
from datacurate.profiling.runs import member, saved_history
from datacurate.profiling.stages import settled
from datacurate.ranks.scores import RunRecord
from datacurate.recipes import Augmentation, ProfileRecipe, Training, as_dict
from datacurate.training import devices, kernels
from datacurate.training.checkpoints import save_network
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport, catastrophic_overfitting
from datacurate.training.loop import Fit
from datacurate.training.methods import check_method
from datacurate.training.schedule import memorizes_from
from datacurate.workers.local import limited
from datacurate.workers.workspace import claimed, has_claim, resolved_before

RANKS_SUFFIX = ".ranks.h5"


@dataclass(frozen=True)
class ProfileProgress:
    """Where a profile is, after an epoch.

    Attributes
    ----------
    run, runs : int
        `run` is 1-based.
    report : EpochReport
    done : int
        Epochs of all runs that are done, in this process or an earlier one.
    """

    run: int
    runs: int
    report: EpochReport
    done: int


def resolved(recipe: ProfileRecipe, data: DataSet, parallel: int = 1) -> ProfileRecipe:
    """Return a recipe with nothing left to the machine or the data.

    Threads left open are all cores, shared by as many runs as go on at a time.

    Raises
    ------
    UnknownNameError
        For a network or a method that does not exist.
    RecipeError
        For a measure that the method does not have.
    UsageError
        If fewer than one run is to go on at a time.
    """
    check_name(recipe.training.model)
    check_method(recipe.training)
    return replace(
        settled(recipe),
        training=for_images(recipe.training, data),
        execution=decided(recipe, data, parallel).execution,
    )


def decided(
    recipe: ProfileRecipe,
    data: DataSet,
    parallel: int = 1,
    tell: Callable[[str], None] | None = None,
) -> kernels.Decision:
    """Return where and with which kernels a profile runs; see `datacurate.training.kernels`."""
    return kernels.decide(
        recipe.execution,
        for_images(recipe.training, data),
        training_data(data),
        runs=recipe.runs,
        at_once=at_once(recipe, parallel),
        tell=tell,
    )


def planned(
    recipe: ProfileRecipe, data: DataSet, out: Path, *, force: bool = False, parallel: int = 1
) -> ProfileRecipe:
    """Return the resolved recipe that `profile` will follow: that of unfinished work, if any."""
    before = None if force else resolved_before(state_directory(out), ProfileRecipe)
    return before or resolved(recipe, data, parallel)


def at_once(recipe: ProfileRecipe, parallel: int) -> int:
    """Return how many runs go on at a time where `parallel` are asked for.

    Raises
    ------
    UsageError
        For fewer than one.
    """
    return limited(parallel, recipe.runs)


def for_images(training: Training, data: DataSet) -> Training:
    """Return a training with crop and flip decided for images of this size and kind."""
    chosen = training.augmentation
    height = data.train.images.shape[1]
    padding = height // 8 if chosen.padding is None else chosen.padding
    flip = data.flippable if chosen.flip is None else chosen.flip
    return replace(training, augmentation=Augmentation(padding, flip))


def training_data(data: DataSet) -> TrainingData:
    """Return all trainable examples, with the test split for the choice of the checkpoint."""
    return TrainingData(
        images=data.train.images,
        labels=data.train.labels,
        rows=data.trainable,
        selection_images=data.test.images,
        selection_labels=data.test.labels,
        classes=data.train.identity.classes,
    )


def estimated(recipe: ProfileRecipe, data: DataSet, parallel: int = 1) -> Estimate:
    """Return an estimate of how long a profile takes on this machine, from a few real steps."""
    full = resolved(recipe, data, parallel)
    return estimates.cost(full, training_data(data)).of(full, at_once(full, parallel))


def profile(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    checkpoints: Path | None = None,
    on_epoch: Callable[[ProfileProgress], None] | None = None,
) -> rankfile.RankFile:
    """Run a recipe's trainings on a data set and write its ranks.

    The file at `out` is valid after every finished run; its runs are in the order of their seeds,
    so one that is finished before its predecessor waits for it in the state. Killed at any moment,
    the same call goes on where it stopped and arrives at the same columns. The history of every
    epoch lies beside the file as ``NAME.history.jsonl``; the state to resume from in
    ``NAME.state/``, which is removed at the end.

    Parameters
    ----------
    recipe : ProfileRecipe
        Its open fields are decided at the first call and kept with the state.
    data : DataSet
    out : Path
        ``NAME.ranks.h5``.
    force : bool
        Replace what is at `out`, and forget the state of an unfinished profile there.
    parallel : int
        How many runs go on at a time, each in a process of its own. It changes no column, and the
        same call may go on with another number; threads that the recipe leaves open are shared by
        as many runs as the first call asked for.
    checkpoints : Path, optional
        A directory for the robust-best network of every run.
    on_epoch : callable, optional

    Returns
    -------
    RankFile
        As written.

    Raises
    ------
    OutputExistsError
        If `out` holds something that is not an unfinished profile of this recipe and data.
    OutputBusyError
        If another process is profiling into `out`.
    StateError
        If there is an unfinished profile of another recipe or other data.
    TrainingError
        If a training diverges or runs out of memory; what was finished before stays.
    UsageError
        For `parallel` below one.
    """
    refuse_existing(out, force=True)
    state = state_directory(out)
    refuse_finished(out, force)
    if checkpoints is not None:
        checkpoints.mkdir(parents=True, exist_ok=True)
    identity = data.train.identity
    work = {
        "data": identity.name,
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
    }
    together = at_once(recipe, parallel)

    def begun(asked: ProfileRecipe) -> ProfileRecipe:
        kernels.keep(decided(asked, data, together), state)
        return resolved(asked, data, together)

    with claimed(state, recipe, work, begun, out, force) as full:
        return _profile_runs(full, data, out, state, together, checkpoints, on_epoch)


def is_unfinished(out: Path) -> bool:
    """Return whether a profile that leads to `out` was begun and not ended."""
    return has_claim(state_directory(out))


def refuse_finished(out: Path, force: bool) -> None:
    """Raise if something is at `out` that no unfinished profile leads to.

    Raises
    ------
    OutputExistsError
    """
    if force or not out.exists() or is_unfinished(out):
        return
    try:
        found = rankfile.read(out)
    except FileError as error:
        raise OutputExistsError(
            f"{out} exists already and is not a rank file",
            hint="choose another --out, or pass --force to replace it",
        ) from error
    raise OutputExistsError(
        f"{out} exists already, with {len(found.provenance.runs)} finished runs",
        hint=f"datacurate show {out}, or pass --force to profile anew",
    )


def state_directory(out: Path) -> Path:
    """Return where the state of an unfinished profile of `out` lies."""
    return out.with_name(out.name.removesuffix(RANKS_SUFFIX) + ".state")


def _profile_runs(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    state: Path,
    together: int,
    checkpoints: Path | None,
    on_epoch: Callable[[ProfileProgress], None] | None,
) -> rankfile.RankFile:
    trained_on = training_data(data)
    identity = data.train.identity
    records: list[RunRecord] = []
    runs: list[dict[str, Any]] = []
    histories = [saved_history(state, run) for run in range(recipe.runs)]
    written: rankfile.RankFile | None = None

    def report(run: int, history: list[EpochReport]) -> None:
        histories[run] = history
        _write_history(out, histories)
        if on_epoch is not None:
            done = sum(map(len, histories))
            on_epoch(ProfileProgress(run + 1, recipe.runs, history[-1], done))

    with contextlib.closing(runs_in_turn(recipe, trained_on, state, together, report)) as order:
        for run in order:
            finished = member(recipe, run, trained_on, state, partial(report, run))
            records.append(finished.record)
            runs.append(_summary(recipe, run, finished))
            if checkpoints is not None:
                save_network(
                    checkpoints / f"{out.name.removesuffix(RANKS_SUFFIX)}.run{run}.pt",
                    finished.best,
                    recipe.training.model,
                    identity.class_names,
                    identity.shape,
                    {"recipe": as_dict(recipe), "dataset": identity.name, **runs[-1]},
                )
            written = from_runs(
                identity,
                records,
                provenance.of_profile(
                    recipe,
                    runs,
                    data.train.stated_source,
                    {"device": devices.describe(recipe.execution), **kernels.kept(state)},
                ),
                data.trainable,
            )
            _write_history(out, histories)
            rankfile.write(out, written, force=True)
    assert written is not None  # a recipe has at least one run
    return written


def _summary(recipe: ProfileRecipe, run: int, finished: Fit) -> dict[str, Any]:
    training = recipe.training
    best, last = finished.at(finished.best_epoch), finished.history[-1]
    summary = {
        "seed": recipe.seed + run,
        "device": devices.of_member(recipe.execution, run).device,
        "epochs": len(finished.history),
        "seconds": round(last.seconds, 3),
        "best_epoch": finished.best_epoch,
        "clean_accuracy": best.clean,
        "robust_accuracy": best.robust,
        "last_clean_accuracy": last.clean,
        "last_robust_accuracy": last.robust,
        "train_robust_accuracy": last.train_robust,
    }
    if training.attack.steps == 1 and training.method != "standard":
        # What is memorised is not robust elsewhere; that is no collapse.
        overfitted = catastrophic_overfitting(finished.history[: memorizes_from(training)])
        if overfitted is not None:
            summary["catastrophic_overfitting"] = overfitted
    return summary


def _write_history(out: Path, histories: Sequence[Sequence[EpochReport]]) -> None:
    # Written whole each time: an append that is cut off would leave half a line.
    lines = [
        json.dumps({"run": run, **asdict(epoch)}) + "\n"
        for run, history in enumerate(histories)
        for epoch in history
    ]
    write_text(rankfile.history_path(out), "".join(lines))
