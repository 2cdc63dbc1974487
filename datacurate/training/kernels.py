"""The kernels of a training: decided once, after a trial where the training is long."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datacurate.outputs import write_json
from datacurate.recipes import Execution, Training
from datacurate.training import devices
from datacurate.training.examples import TrainingData
from datacurate.training.kernel_trials import Trial, made, measured

# On two cores compiling takes 20 to 90 s the first time, and saves from 0.03 s of a step of
# single-step training of a small network to 0.4 s of a PGD-10 step of a PreAct ResNet-18.
LONG = 2000
"""From so many steps on, all runs together, kernels are tried, and compiled if left open."""

_SLOWER = 1.2
_AGAIN = 2
_KEPT = "kernels.json"


@dataclass(frozen=True)
class Decision:
    """With which kernels a training runs.

    Attributes
    ----------
    execution : Execution
        With nothing left open.
    trials : tuple of Trial
        In the order in which they were made; none for a short training.
    notes : tuple of str
        What the user should know: what was refused, and why.
    """

    execution: Execution
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what was tried and why it was not taken, for provenance, in JSON values."""
        return {"trials": [_rounded(trial) for trial in self.trials], "notes": list(self.notes)}


def decide(
    requested: Execution,
    training: Training,
    data: TrainingData,
    *,
    runs: int = 1,
    at_once: int = 1,
    tell: Callable[[str], None] | None = None,
) -> Decision:
    """Return an execution with nothing left open, tried if the training is long.

    Compiled kernels give way to eager ones, and bfloat16 to float32, where they cannot be made or
    are wrong; those that were left open also where they are slower. The trials of the same training
    in the same process are made once.

    Parameters
    ----------
    requested : Execution
    training : Training
        With padding and flip decided.
    data : TrainingData
    runs : int
        Trainings like this one that the work consists of.
    at_once : int
        How many of them go on at a time.
    tell : callable, optional
        Told before something that takes long.

    Raises
    ------
    UsageError
        If the device named does not exist here.
    """
    steps = runs * training.epochs * math.ceil(len(data.rows) / training.optimizer.batch_size)
    execution = devices.resolve(requested, at_once)
    notes: list[str] = []
    # On CUDA compiled kernels are for those who ask for them: how Triton tunes its sums has not
    # been shown to repeat to the bit.
    if requested.kernels == "auto" and steps >= LONG and execution.device == "cpu":
        execution = replace(execution, kernels="compiled")
    if execution.kernels == "compiled":
        missing = devices.compiler_missing(execution.device)
        if missing is not None:
            notes.append(f"{missing}: kernels are eager, which is slower and otherwise as good")
            execution = replace(execution, kernels="eager")
    if steps < LONG and execution.kernels == "eager":
        return Decision(execution, (), tuple(notes))
    # A process that asks again, to show, to estimate and to begin, is given the same answer.
    key = (requested, execution, training, data.images.shape, data.classes)
    if key not in _decided:
        if tell is not None:
            compiling = "; compiling takes a minute or two" * (execution.kernels == "compiled")
            tell(f"trying {execution.kernels} {execution.dtype} kernels on one batch{compiling}")
        _decided[key] = _tried(requested, execution, training, data, notes)
    return _decided[key]


_decided: dict[Any, Decision] = {}


def _tried(
    requested: Execution,
    execution: Execution,
    training: Training,
    data: TrainingData,
    notes: list[str],
) -> Decision:
    """Try the type first, then the kernels; what does not hold gives way to what did."""
    taken = replace(execution, dtype="float32", kernels="eager")
    if execution == taken:
        return Decision(execution, (), tuple(notes))
    reference, first = measured(taken, training, data)
    trials = [Trial("float32", "eager", first, reference.seconds)]
    fastest = reference.seconds
    for change in ("dtype", "kernels"):
        candidate = replace(taken, **{change: getattr(execution, change)})
        if candidate == taken:
            continue
        trial = made(candidate, training, data, reference)
        # A busy machine slows one and not the other: before it counts, both are timed again.
        for _ in range(_AGAIN):
            if trial.refused or trial.step_seconds <= _SLOWER * fastest:
                break
            fastest = min(fastest, measured(taken, training, data)[0].seconds)
            again = measured(candidate, training, data)[0].seconds
            trial = replace(trial, step_seconds=min(trial.step_seconds, again))
        left_open = getattr(requested, change) == "auto"
        if not trial.refused and left_open and trial.step_seconds > _SLOWER * fastest:
            slow = f"{trial.step_seconds:.3g} s a step, {fastest:.3g} s without them"
            trial = replace(trial, refused=f"they are slow here: {slow}")
        if trial.refused:
            notes.append(f"{trial.kernels} {trial.dtype} kernels are not used: {trial.refused}")
        else:
            taken, fastest = candidate, trial.step_seconds
        trials.append(trial)
    return Decision(taken, tuple(trials), tuple(notes))


def keep(decision: Decision, state: Path) -> None:
    """Write what was tried into the folder of a work's state, if anything was."""
    if decision.trials or decision.notes:
        write_json(state / _KEPT, decision.as_dict())


def kept(state: Path) -> dict[str, Any]:
    """Return ``{"kernels": ...}`` with what `keep` wrote, for provenance; empty if nothing."""
    path = state / _KEPT
    return {"kernels": json.loads(path.read_text(encoding="utf-8"))} if path.exists() else {}


def _rounded(trial: Trial) -> dict[str, Any]:
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in asdict(trial).items()
    }
