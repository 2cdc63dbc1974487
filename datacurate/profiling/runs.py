"""A member of a profile: one of its runs, from the first epoch to the measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from datacurate.profiling.stages import after_training, at_end, early
from datacurate.recipes import ProfileRecipe
from datacurate.training.checkpoints import load_tensors
from datacurate.training.devices import of_member
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Fit, fit


def member(
    recipe: ProfileRecipe,
    run: int,
    data: TrainingData,
    state: Path,
    on_epoch: Callable[[list[EpochReport]], None] | None = None,
) -> Fit:
    """Make a run, or go on where it stopped; one that is made is read back.

    A finished run is read from its last epoch's state: there is no second kind of state for it,
    and its columns come from the same bits whoever made it.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    run : int
        From 0.
    data : TrainingData
    state : Path
        The folder of the profile's state.
    on_epoch : callable, optional
        Called with the history so far after each epoch is saved.

    Returns
    -------
    Fit
        With the recipe's measures in its record.
    """
    placed = replace(recipe, execution=of_member(recipe.execution, run))
    finished = fit(
        placed.training,
        placed.execution,
        data,
        recipe.seed + run,
        _training_state(state, run),
        on_epoch,
        early(placed, data),
    )
    measured = at_end(placed, finished, data, _measures_state(state, run))
    measured |= {name: values.numpy() for name, values in finished.probed.items()}
    recorded = finished.record.measures
    measured |= {name: recorded[name] for name in recipe.measures if name in recorded}
    return replace(finished, record=replace(finished.record, measures=measured))


def saved_history(state: Path, run: int) -> list[EpochReport]:
    """Return the epochs that a run has behind it; none if it was not begun."""
    path = _training_state(state, run)
    if not path.exists():
        return []
    return [EpochReport(**values) for values in load_tensors(path, mapped=True)["history"]]


def is_made(recipe: ProfileRecipe, run: int, state: Path) -> bool:
    """Return whether a run is finished and measured."""
    if after_training(recipe) and not _measures_state(state, run).exists():
        return False
    return len(saved_history(state, run)) == recipe.training.epochs


def _training_state(state: Path, run: int) -> Path:
    return state / f"run-{run}.pt"


def _measures_state(state: Path, run: int) -> Path:
    return state / f"run-{run}.measures.pt"
