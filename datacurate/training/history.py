"""What is told of every epoch, and what its figures warn of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_COLLAPSE = 0.5


@dataclass(frozen=True)
class EpochReport:
    """An epoch's figures, for the history and for whoever watches.

    Attributes
    ----------
    epoch : int
        1-based.
    epochs : int
    loss : float
        Mean over the training examples.
    train_robust : float
        Fraction of the training examples recorded as right: under the method's attack, or on the
        clean examples where training is standard.
    clean, robust : float or None
        Accuracy on the selection set, clean and under its attack; None where not evaluated.
    learning_rate : float
        Of the last step.
    seconds : float
        Since the start of the training, over all processes that worked on it.
    examples_per_second : float
        Training examples, over this epoch.
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
    """Return the first epoch, 1-based, at which a training had overfitted catastrophically.

    Wong et al., "Fast is better than free" (https://arxiv.org/abs/2001.03994), section 5: a
    network trained on single-step examples can come to withstand these alone, within an epoch.
    Here that is an epoch at which accuracy under the multi-step selection attack is below half of
    the highest seen before, while accuracy under the training attack is no lower than it was then.

    Parameters
    ----------
    history : sequence of EpochReport
        From the first epoch on.
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
