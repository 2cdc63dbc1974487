"""Choose the kernels of a training, after a trial on one batch where the training is long."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from datacurate.notices import Notify
from datacurate.recipes import Execution, Training
from datacurate.training import devices
from datacurate.training.examples import TrainingData
from datacurate.training.kernel_trials import Trial, measure_kernels, try_kernels

# On two cores compiling takes 20 to 90 s the first time. It saves from 0.03 s (single-step training
# of a small network) to 0.4 s (PGD-10 step of a PreAct ResNet-18) a step.
LONG = 2000
"""Number of steps, over all trainings of the work, from which kernels are tried and compiled."""

_SLOWER = 1.2  # kernels that take this many times as long are not used
_REPEATS = 2


@dataclass(frozen=True)
class KernelChoice:
    """The kernels that a training runs with.

    Attributes
    ----------
    execution : Execution
        With every field decided.
    trials : tuple of Trial
        In the order in which they were made; empty for a short training.
    notes : tuple of str
        For the user: which kernels were refused, and why.
    """

    execution: Execution
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any] | None:
        """Return the trials and notes for provenance, as JSON values; None if there are none."""
        if not self.trials and not self.notes:
            return None
        return {"trials": [_rounded(trial) for trial in self.trials], "notes": list(self.notes)}


def count_steps(training: Training, data: TrainingData, units: int) -> int:
    """Return the number of training steps that so many trainings take together."""
    return units * training.epochs * math.ceil(len(data.rows) / training.optimizer.batch_size)


def choose_kernels(
    requested: Execution,
    training: Training,
    data: TrainingData,
    *,
    units: int = 1,
    concurrency: int = 1,
    tell: Notify | None = None,
) -> KernelChoice:
    """Return an execution with every field decided, tried on one batch if the training is long.

    Falls back from compiled to eager kernels, and from bfloat16 to float32, if they fail or are
    wrong, and, where the recipe leaves them open, if they are slower. Call it once for a work: a
    second call tries the kernels again.

    Parameters
    ----------
    requested : Execution
    training : Training
        With padding and flip decided.
    data : TrainingData
    units : int
        How many trainings like this one the work consists of.
    concurrency : int
        How many of them run at a time.
    tell : callable, optional
        Told before a step that takes long.

    Raises
    ------
    UsageError
        If the requested device does not exist here.
    """
    steps = count_steps(training, data, units)
    execution = devices.resolve(requested, concurrency)
    notes: list[str] = []
    # On CUDA kernels are compiled only on request: Triton tunes its sums by timing, and nobody has
    # shown that they repeat to the bit.
    if requested.kernels == "auto" and steps >= LONG and execution.device == "cpu":
        execution = replace(execution, kernels="compiled")
    if execution.kernels == "compiled":
        missing = devices.compiler_missing(execution.device)
        if missing is not None:
            notes.append(f"{missing}: eager kernels are used, which are slower but equally correct")
            execution = replace(execution, kernels="eager")
    if steps < LONG and execution.kernels == "eager":
        return KernelChoice(execution, (), tuple(notes))
    if tell is not None:
        compiling = "; compiling takes a minute or two" * (execution.kernels == "compiled")
        tell(f"trying {execution.kernels} {execution.dtype} kernels on one batch{compiling}")
    return _try_kernels(requested, execution, training, data, notes)


def _try_kernels(
    requested: Execution,
    execution: Execution,
    training: Training,
    data: TrainingData,
    notes: list[str],
) -> KernelChoice:
    """Try the data type first, then the kernels. Fall back to the last setting that passed."""
    accepted = replace(execution, dtype="float32", kernels="eager")
    if execution == accepted:
        return KernelChoice(execution, (), tuple(notes))
    reference, first = measure_kernels(accepted, training, data)
    trials = [Trial("float32", "eager", first, reference.seconds)]
    fastest = reference.seconds
    for change in ("dtype", "kernels"):
        candidate = replace(accepted, **{change: getattr(execution, change)})
        if candidate == accepted:
            continue
        trial = try_kernels(candidate, training, data, reference)
        # A busy machine may slow down only one of the two. Time both again before refusing.
        for _ in range(_REPEATS):
            if trial.refused or trial.step_seconds <= _SLOWER * fastest:
                break
            fastest = min(fastest, measure_kernels(accepted, training, data)[0].seconds)
            again = measure_kernels(candidate, training, data)[0].seconds
            trial = replace(trial, step_seconds=min(trial.step_seconds, again))
        left_open = getattr(requested, change) == "auto"
        if not trial.refused and left_open and trial.step_seconds > _SLOWER * fastest:
            slow = f"{trial.step_seconds:.3g} s a step, {fastest:.3g} s without them"
            trial = replace(trial, refused=f"they are slow here: {slow}")
        if trial.refused:
            notes.append(f"{trial.kernels} {trial.dtype} kernels are not used: {trial.refused}")
        else:
            accepted, fastest = candidate, trial.step_seconds
        trials.append(trial)
    return KernelChoice(accepted, tuple(trials), tuple(notes))


def _rounded(trial: Trial) -> dict[str, Any]:
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in asdict(trial).items()
    }
