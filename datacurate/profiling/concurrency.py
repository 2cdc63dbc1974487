"""The runs of a profile as units that other processes can run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from datacurate.profiling.runs import is_finished, train_and_measure
from datacurate.recipes import ProfileRecipe, as_dict, from_dict
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.workers.local import Units, run_in_order

_ARRAYS = ("images", "labels", "rows", "selection_images", "selection_labels")


def run_units(
    recipe: ProfileRecipe,
    data: TrainingData,
    workspace: Path,
    concurrency: int,
    on_epoch: Callable[[int, list[EpochReport]], None],
) -> Generator[int]:
    """Yield the runs of a profile as `datacurate.workers.local.run_in_order` does.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    data : TrainingData
    workspace : Path
    concurrency : int
        Number of processes.
    on_epoch : callable
        Called with a run's number and its history after each epoch that a process saved.
    """
    runs = range(recipe.runs)
    units = Units(
        names=[f"run {run + 1}" for run in runs],
        pending=[run for run in runs if not is_finished(recipe, run, workspace)],
        function=f"{__name__}:run_unit",
        description={
            "recipe": as_dict(recipe),
            "workspace": str(workspace),
            "classes": data.classes,
        },
        arrays={name: getattr(data, name) for name in _ARRAYS},
    )
    return run_in_order(
        units,
        concurrency,
        lambda run, message: on_epoch(run, [EpochReport(**values) for values in message]),
    )


def run_unit(
    description: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
    run: int,
    send: Callable[[Any], None],
) -> None:
    """Train and measure the run that `run_units` describes; send its history after each epoch."""
    train_and_measure(
        from_dict(ProfileRecipe, description["recipe"]),
        run,
        TrainingData(**arrays, classes=description["classes"]),
        Path(description["workspace"]),
        lambda history: send([asdict(epoch) for epoch in history]),
    )
