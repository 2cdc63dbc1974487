"""What changes during a training, as functions of step and epoch, so that it needs no state."""

from __future__ import annotations

from datacurate.recipes import Optimizer, Training


def learning_rate(optimizer: Optimizer, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the learning rate of a step.

    Parameters
    ----------
    optimizer : Optimizer
    step : int
        0-based, over the whole training.
    steps_per_epoch, epochs : int
    """
    if optimizer.schedule == "steps":
        passed = sum(step >= milestone * steps_per_epoch for milestone in optimizer.milestones)
        return optimizer.learning_rate * optimizer.factor**passed
    total = steps_per_epoch * epochs
    rise = optimizer.warmup * total
    if step < rise:
        return optimizer.learning_rate * (step + 1) / (rise + 1)
    return optimizer.learning_rate * (total - step) / (total - rise)


def memorizes_from(training: Training) -> int:
    """Return the first epoch, 0-based, without augmentation and weight decay."""
    return training.epochs - round(training.memorization * training.epochs)
