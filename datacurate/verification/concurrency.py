"""The trainings of a verification as units that other processes can run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from datacurate.recipes import VerifyRecipe, as_dict, from_dict
from datacurate.training.history import EpochReport
from datacurate.verification.arms import Arms
from datacurate.verification.results import StandardNetwork, TrainedNetwork
from datacurate.verification.surrogate import Surrogate
from datacurate.verification.trainings import OnProgress, Trainings, VerificationProgress
from datacurate.workers.local import Units, run_in_order

_ARM_ARRAYS = ("labels", "content", "held_out", "available")
_ARRAYS = ("images", "test_images", "test_labels", "attacked_rows")
_GIVEN = "given:"  # no arm's name contains a colon


def run_units(
    trainings: Trainings, concurrency: int, on_progress: OnProgress | None = None
) -> list[TrainedNetwork | StandardNetwork]:
    """Train and attack all units of a verification; return them in their order.

    Parameters
    ----------
    trainings : Trainings
    concurrency : int
        How many units run at a time, each in a process; with 1 there is no other process.
    on_progress : callable, optional

    Raises
    ------
    TrainingError
        As `datacurate.workers.local.run_in_order` does.
    """
    units = trainings.units()
    keys = [trainings.key(unit) for unit in units]
    epochs = {key: trainings.saved_epochs(key) for key in keys}

    def report(number: int, progress: VerificationProgress) -> None:
        if progress.epoch is not None:
            epochs[keys[number]] = progress.epoch.epoch
        if on_progress is not None:
            on_progress(replace(progress, trained=sum(epochs[key] for key in keys)))

    order = run_in_order(
        _describe(trainings, keys),
        concurrency,
        lambda number, message: report(number, _read_progress(message)),
    )
    with contextlib.closing(order):
        return [trainings.train_and_attack(number, partial(report, number)) for number in order]


def _describe(trainings: Trainings, keys: list[str]) -> Units:
    units = trainings.units()
    return Units(
        names=[f"{unit.label}, seed {unit.seed}" for unit in units],
        # Arms with the same rows share one training. Only the first of them is run.
        pending=[
            number
            for number, unit in enumerate(units)
            if keys.index(keys[number]) == number and not trainings.is_finished(unit)
        ],
        function=f"{__name__}:run_unit",
        description={
            "recipe": as_dict(trainings.recipe),
            "data_hash": trainings.data_hash,
            "workspace": str(trainings.workspace),
            "surrogate": trainings.surrogate and asdict(trainings.surrogate),
            "classes": trainings.arms.classes,
        },
        arrays={
            **{name: getattr(trainings, name) for name in _ARRAYS},
            **{name: getattr(trainings.arms, name) for name in _ARM_ARRAYS},
            **{_GIVEN + name: rows for name, rows in trainings.arms.given.items()},
        },
    )


def run_unit(
    description: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    number: int,
    send: Callable[[Any], None],
) -> None:
    """Train and attack the unit that `run_units` describes; send its progress."""
    given = {
        name.removeprefix(_GIVEN): rows for name, rows in arrays.items() if name.startswith(_GIVEN)
    }
    arms = Arms(
        **{name: arrays[name] for name in _ARM_ARRAYS}, classes=description["classes"], given=given
    )
    trainings = Trainings(
        recipe=from_dict(VerifyRecipe, description["recipe"]),
        arms=arms,
        **{name: arrays[name] for name in _ARRAYS},
        data_hash=description["data_hash"],
        workspace=Path(description["workspace"]),
        surrogate=description["surrogate"] and Surrogate(**description["surrogate"]),
    )
    trainings.train_and_attack(number, lambda progress: send(asdict(progress)))


def _read_progress(message: Mapping[str, Any]) -> VerificationProgress:
    epoch = None if message["epoch"] is None else EpochReport(**message["epoch"])
    return VerificationProgress(**{**message, "epoch": epoch})
