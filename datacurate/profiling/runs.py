"""One run of a profile, from the first epoch to its measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from datacurate.profiling.stages import early_probe, measure_at_end, measures_after_training
from datacurate.recipes import ProfileRecipe
from datacurate.training.checkpoints import load_tensors
from datacurate.training.devices import device_of_unit
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Fit, fit


def train_and_measure(
    recipe: ProfileRecipe,
    run: int,
    data: TrainingData,
    workspace: Path,
    on_epoch: Callable[[list[EpochReport]], None] | None = None,
) -> Fit:
    """Run a training with its measures, continue it, or read it back if it is finished.

    A finished run is read from the state of its last epoch. So its columns come from the same bits,
    whichever process trained it.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    run : int
        0-based.
    data : TrainingData
    workspace : Path
    on_epoch : callable, optional
        Called with the history so far after each saved epoch.

    Returns
    -------
    Fit
        With the recipe's measures in its record.
    """
    on_device = replace(recipe, execution=device_of_unit(recipe.execution, run))
    fitted = fit(
        on_device.training,
        on_device.execution,
        data,
        recipe.seed + run,
        _training_state(workspace, run),
        on_epoch,
        early_probe(on_device, data),
    )
    measures = measure_at_end(on_device, fitted, data, _measures_state(workspace, run))
    measures |= {name: values.numpy() for name, values in fitted.probed.items()}
    recorded = fitted.record.measures
    measures |= {name: recorded[name] for name in recipe.measures if name in recorded}
    return replace(fitted, record=replace(fitted.record, measures=measures))


def saved_history(workspace: Path, run: int) -> list[EpochReport]:
    """Return the epochs of a run that are saved; none if it has not begun."""
    path = _training_state(workspace, run)
    if not path.exists():
        return []
    return [EpochReport(**values) for values in load_tensors(path, mapped=True)["history"]]


def is_finished(recipe: ProfileRecipe, run: int, workspace: Path) -> bool:
    """Return whether a run is trained and measured."""
    if measures_after_training(recipe) and not _measures_state(workspace, run).exists():
        return False
    return len(saved_history(workspace, run)) == recipe.training.epochs


def _training_state(workspace: Path, run: int) -> Path:
    return workspace / f"run-{run}.pt"


def _measures_state(workspace: Path, run: int) -> Path:
    return workspace / f"run-{run}.measures.pt"
