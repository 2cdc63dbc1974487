"""The members of a verification, several at a time."""

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
from datacurate.verification.results import Member, StandardMember
from datacurate.verification.surrogate import Surrogate
from datacurate.verification.trainings import Making, Report, VerificationProgress
from datacurate.workers.local import Members, in_turn

_OF_ARMS = ("labels", "content", "held_out", "available")
_OF_MAKING = ("images", "test_images", "test_labels", "tested")
_GIVEN = "given:"  # no arm's name holds a colon


def all_made(
    making: Making, together: int, on_progress: Report | None = None
) -> list[Member | StandardMember]:
    """Return the members of a verification in the order of its plan.

    Parameters
    ----------
    making : Making
    together : int
        How many are made at a time, each in a process of its own; with 1 there is none.
    on_progress : callable, optional

    Raises
    ------
    TrainingError
        As `datacurate.workers.local.in_turn` does.
    """
    tasks = making.plan()
    keys = [making.key(task) for task in tasks]
    trained = {key: making.trained(key) for key in keys}

    def report(number: int, progress: VerificationProgress) -> None:
        if progress.epoch is not None:
            trained[keys[number]] = progress.epoch.epoch
        if on_progress is not None:
            on_progress(replace(progress, trained=sum(trained[key] for key in keys)))

    members = Members(
        names=[f"{task.label}, seed {task.seed}" for task in tasks],
        # Arms of the same rows share one training: two processes would both make it.
        unmade=[
            number
            for number, task in enumerate(tasks)
            if keys.index(keys[number]) == number and not making.is_made(task)
        ],
        maker=f"{__name__}:make",
        described={
            "recipe": as_dict(making.recipe),
            "data": making.data,
            "state": str(making.state),
            "surrogate": making.surrogate and asdict(making.surrogate),
            "classes": making.arms.classes,
        },
        arrays={
            **{name: getattr(making, name) for name in _OF_MAKING},
            **{name: getattr(making.arms, name) for name in _OF_ARMS},
            **{_GIVEN + name: rows for name, rows in making.arms.given.items()},
        },
    )
    order = in_turn(members, together, lambda number, told: report(number, _progress(told)))
    with contextlib.closing(order):
        return [making.made(number, partial(report, number)) for number in order]


def make(
    described: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    number: int,
    tell: Callable[[Any], None],
) -> None:
    """Make a member as `all_made` describes it; tell its progress."""
    given = {
        name.removeprefix(_GIVEN): rows for name, rows in arrays.items() if name.startswith(_GIVEN)
    }
    arms = Arms(
        **{name: arrays[name] for name in _OF_ARMS}, classes=described["classes"], given=given
    )
    making = Making(
        recipe=from_dict(VerifyRecipe, described["recipe"]),
        arms=arms,
        **{name: arrays[name] for name in _OF_MAKING},
        data=described["data"],
        state=Path(described["state"]),
        surrogate=described["surrogate"] and Surrogate(**described["surrogate"]),
    )
    making.made(number, lambda progress: tell(asdict(progress)))


def _progress(told: Mapping[str, Any]) -> VerificationProgress:
    epoch = told["epoch"]
    return VerificationProgress(
        **{**told, "epoch": None if epoch is None else EpochReport(**epoch)}
    )
