"""The result of an attack suite for each example, and the state from which it resumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

SURVIVED = -1
CLEAN_WRONG = -2


class AttackState(TypedDict):
    """The progress of a suite, in values that JSON can hold.

    ``fingerprint`` identifies the model, data and settings. The first ``passes`` of the plan are
    done. ``pgd10`` says which examples are correct under PGD-10, once that has run.
    """

    fingerprint: str
    passes: int
    broken_by: list[int]
    seconds: list[float]
    unconfirmed: int
    spent: list[list[list[int]]]
    pgd10: NotRequired[list[bool]]


@dataclass(frozen=True)
class AttackOutcome:
    """The result of a suite for each example.

    Attributes
    ----------
    suite : str
        See `datacurate.attacks.suites.SUITES`.
    label : str
        The suite in words, with what the number of classes excludes.
    attacks : tuple of str
        In the order in which they ran.
    broken_by : ndarray of int8, shape (N,)
        Index into `attacks` of the first one that changed the prediction; `SURVIVED` (−1) if none
        did, `CLEAN_WRONG` (−2) if the unperturbed example was misclassified.
    seconds : tuple of float
        Wall time of each attack.
    unconfirmed : int
        Adversarial examples that a fresh float32 pass did not confirm; they do not count.
    radius : float
        Of the ℓ∞ ball, in pixel units.
    seed : int
    implementation : str
        Whose attacks, their version, and the dtype of the search.
    warnings : tuple of str
        Signs that the robust accuracy may be too high.
    spent : ndarray of int32, shape (A, N, 3), optional
        What each of A attacks spent on each example: iterations or queries, forward passes,
        gradients. Every survivor got all steps, unless an adversarial example of it was not
        confirmed.
    """

    suite: str
    label: str
    attacks: tuple[str, ...]
    broken_by: npt.NDArray[np.int8]
    seconds: tuple[float, ...]
    unconfirmed: int
    radius: float
    seed: int
    implementation: str
    warnings: tuple[str, ...]
    spent: npt.NDArray[np.int32] | None = None

    @property
    def clean_correct(self) -> npt.NDArray[np.bool_]:
        """Whether each unperturbed example was classified correctly, shape (N,)."""
        return np.not_equal(self.broken_by, CLEAN_WRONG)

    @property
    def robust(self) -> npt.NDArray[np.bool_]:
        """Whether each example survived every attack, shape (N,)."""
        return np.equal(self.broken_by, SURVIVED)

    @property
    def left(self) -> tuple[int, ...]:
        """Number of examples that survived each attack and those before it."""
        return tuple(
            int(np.count_nonzero(self.robust | (self.broken_by > index)))
            for index in range(len(self.attacks))
        )

    def spent_on_survivors(self) -> tuple[dict[str, list[int]], ...]:
        """Return the smallest and the largest work that each attack spent on a survivor.

        Returns
        -------
        tuple of dict
            For each attack, ``"steps"``, ``"forwards"`` and ``"gradients"`` with two numbers each;
            empty if nothing survived or nothing was counted.
        """
        if self.spent is None or not self.robust.any():
            return tuple({} for _ in self.attacks)
        of_survivors = self.spent[:, self.robust]
        return tuple(
            {
                name: [int(counts[:, column].min()), int(counts[:, column].max())]
                for column, name in enumerate(("steps", "forwards", "gradients"))
            }
            for counts in of_survivors
        )
