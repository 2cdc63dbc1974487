"""The runs of a profile, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from datacurate.profiling.runs import is_made, member
from datacurate.recipes import ProfileRecipe, as_dict, from_dict
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.workers.local import Members, in_turn

_ARRAYS = ("images", "labels", "rows", "selection_images", "selection_labels")


def runs_in_turn(
    recipe: ProfileRecipe,
    data: TrainingData,
    state: Path,
    together: int,
    on_epoch: Callable[[int, list[EpochReport]], None],
) -> Generator[int]:
    """Return the runs of a profile as `datacurate.workers.local.in_turn` yields members.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    data : TrainingData
    state : Path
        The folder of the profile's state.
    together : int
        How many processes.
    on_epoch : callable
        Called with a run's number and its history so far after each epoch that a process saved.
    """
    runs = range(recipe.runs)
    members = Members(
        names=[f"run {run + 1}" for run in runs],
        unmade=[run for run in runs if not is_made(recipe, run, state)],
        maker=f"{__name__}:make",
        described={"recipe": as_dict(recipe), "state": str(state), "classes": data.classes},
        arrays={name: getattr(data, name) for name in _ARRAYS},
    )
    return in_turn(members, together, lambda run, told: on_epoch(run, _history(told)))


def make(
    described: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    run: int,
    tell: Callable[[Any], None],
) -> None:
    """Make a run as `runs_in_turn` describes it; tell its history after each epoch."""
    member(
        from_dict(ProfileRecipe, described["recipe"]),
        run,
        TrainingData(**arrays, classes=described["classes"]),
        Path(described["state"]),
        lambda history: tell([asdict(epoch) for epoch in history]),
    )


def _history(told: list[dict[str, Any]]) -> list[EpochReport]:
    return [EpochReport(**values) for values in told]
