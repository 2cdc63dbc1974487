"""Profile a data set: several adversarial trainings → one rank file.

S0, section 3.1 and appendix A: run trainings that differ in initial weights and data order, record
for each example at which epochs it was right under attack, rank by learning instability, average
the ranks over the runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.errors import FileError, OutputExistsError
from datacurate.files import provenance, rankfile
from datacurate.files.runs import from_runs
from datacurate.nets import check_name
from datacurate.outputs import refuse_existing, write_text
from datacurate.ranks.scores import RunRecord
from datacurate.recipes import (
    Augmentation,
    ProfileRecipe,
    Training,
    as_dict,
)
from datacurate.training import devices
from datacurate.training.checkpoints import save_network
from datacurate.training.claims import claimed, has_claim
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport, catastrophic_overfitting
from datacurate.training.loop import Fit, fit, seconds_per_epoch
from datacurate.training.measures import at_best
from datacurate.training.methods import check_method

RANKS_SUFFIX = ".ranks.h5"


@dataclass(frozen=True)
class Progress:
    """Where a profile is, after an epoch.

    Attributes
    ----------
    run, runs : int
        `run` is 1-based.
    report : EpochReport
    """

    run: int
    runs: int
    report: EpochReport


def resolved(recipe: ProfileRecipe, data: DataSet) -> ProfileRecipe:
    """Return a recipe with nothing left to the machine or the data.

    Raises
    ------
    UnknownNameError
        For a network or a method that does not exist.
    """
    check_name(recipe.training.model)
    check_method(recipe.training)
    return replace(
        recipe,
        training=for_images(recipe.training, data),
        execution=devices.resolve(recipe.execution),
    )


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


def estimated_seconds(recipe: ProfileRecipe, data: DataSet) -> float:
    """Return an estimate of how long a profile takes on this machine, from a few real steps.

    It is that of the trainings: measuring at their ends takes a few hundredths of a long one.
    """
    full = resolved(recipe, data)
    epoch = seconds_per_epoch(full.training, full.execution, training_data(data))
    return epoch * full.training.epochs * full.runs


def profile(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    checkpoints: Path | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> rankfile.RankFile:
    """Run a recipe's trainings on a data set and write its ranks.

    The file at `out` is valid after every finished run. Killed at any moment, the same call goes
    on where it stopped and arrives at the same columns. The history of every epoch lies beside
    the file as ``NAME.history.jsonl``; the state to resume from in ``NAME.state/``, which is
    removed at the end.

    Parameters
    ----------
    recipe : ProfileRecipe
        Its open fields are decided at the first call and kept with the state.
    data : DataSet
    out : Path
        ``NAME.ranks.h5``.
    force : bool
        Replace what is at `out`, and forget the state of an unfinished profile there.
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
        If a training diverges; what was finished before stays.
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
    with claimed(state, recipe, work, lambda r: resolved(r, data), out, force) as full:
        return _profile_runs(full, data, out, state, checkpoints, on_epoch)


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
    checkpoints: Path | None,
    on_epoch: Callable[[Progress], None] | None,
) -> rankfile.RankFile:
    trained_on = training_data(data)
    identity = data.train.identity
    records: list[RunRecord] = []
    runs: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    written: rankfile.RankFile | None = None
    for run in range(recipe.runs):

        def report(
            epochs: list[EpochReport], run: int = run, before: tuple[Any, ...] = tuple(history)
        ) -> None:
            _write_history(out, [*before, *_lines(run, epochs)])
            if on_epoch is not None:
                on_epoch(Progress(run + 1, recipe.runs, epochs[-1]))

        # A finished run is read back from its last epoch's state: there is no second kind of
        # state for it, and its columns come from the same bits.
        finished = fit(
            recipe.training,
            recipe.execution,
            trained_on,
            recipe.seed + run,
            state / f"run-{run}.pt",
            report,
        )
        history += _lines(run, finished.history)
        measured = at_best(recipe, finished, trained_on, state / f"run-{run}.measures.pt")
        records.append(replace(finished.record, measures=measured))
        runs.append(_summary(recipe.seed + run, finished, recipe.training))
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
                {"device": devices.describe(recipe.execution)},
            ),
            data.trainable,
        )
        _write_history(out, history)
        rankfile.write(out, written, force=True)
    assert written is not None  # a recipe has at least one run
    return written


def _summary(seed: int, finished: Fit, training: Training) -> dict[str, Any]:
    best, last = finished.at(finished.best_epoch), finished.history[-1]
    summary = {
        "seed": seed,
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
        overfitted = catastrophic_overfitting(finished.history)
        if overfitted is not None:
            summary["catastrophic_overfitting"] = overfitted
    return summary


def _lines(run: int, epochs: list[EpochReport]) -> list[dict[str, Any]]:
    return [{"run": run, **asdict(epoch)} for epoch in epochs]


def _write_history(out: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    # Written whole each time: an append that is cut off would leave half a line.
    write_text(rankfile.history_path(out), "".join(json.dumps(line) + "\n" for line in lines))
