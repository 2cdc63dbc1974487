"""The report of an epoch, and warning signs in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLLAPSE = 0.5


@dataclass(frozen=True)
class EpochReport:
    """The figures of an epoch, for history and progress.

    Attributes
    ----------
    epoch : int
        1-based.
    epochs : int
    loss : float
        Mean over the training examples.
    train_robust : float
        Fraction of the training examples that were correct: under the attack of the method, or
        clean in standard training.
    clean, robust : float or None
        Accuracy on the selection set, clean and under its attack; None if not evaluated.
    learning_rate : float
        Learning rate of the last step.
    seconds : float
        Since the start of the training, summed over all processes that worked on it.
    examples_per_second : float
        Training examples per second in this epoch.
    """

    epoch: int
    epochs: int
    loss: float
    train_robust: float
    clean: float | None
    robust: float | None
    learning_rate: float
    seconds: float
    examples_per_second: float


def catastrophic_overfitting(history: Sequence[EpochReport]) -> int | None:
    """Return the first epoch, 1-based, at which a training overfitted catastrophically, or None.

    Wong et al., "Fast is better than free" (https://arxiv.org/abs/2001.03994), section 5: a
    network trained on single-step examples can become robust to these alone, within an epoch. Here
    that is an epoch at which the accuracy under the multi-step selection attack is below half of
    its highest value before, while the accuracy under the training attack is not lower than then.

    Parameters
    ----------
    history : sequence of EpochReport
        All epochs from the first.
    """
    best: EpochReport | None = None
    for report in history:
        if report.robust is None:
            continue
        if best is None or best.robust is None or report.robust > best.robust:
            best = report
        elif report.robust < _COLLAPSE * best.robust and report.train_robust >= best.train_robust:
            return report.epoch
    return None
