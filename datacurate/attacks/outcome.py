"""What an attack suite did to each example, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

SURVIVED = -1
CLEAN_WRONG = -2


class AttackState(TypedDict):
    """How far a suite has come, in values that JSON can hold.

    ``fingerprint`` names the work it belongs to; the first ``passes`` of its plan are done.
    ``pgd10`` says which examples are right under PGD-10, once an evaluation has come so far.
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
    """What a suite did to each example.

    Attributes
    ----------
    suite : str
        See `datacurate.attacks.suites.plan`.
    label : str
        The suite in words, with what the number of classes ruled out.
    attacks : tuple of str
        In the order in which they ran.
    broken_by : ndarray of int8, shape (N,)
        Index into `attacks` of the first that changed the prediction; `SURVIVED` (−1) where none
        did, `CLEAN_WRONG` (−2) where the unperturbed example was misclassified.
    seconds : tuple of float
        Wall time of each attack.
    unconfirmed : int
        Claims that a fresh float32 pass did not repeat; they count for nothing.
    radius : float
        Of the ℓ∞ ball, in pixel units.
    seed : int
    implementation : str
        Whose searches, and in which arithmetic they searched.
    warnings : tuple of str
        Signs that the robust accuracy may be too high.
    spent : ndarray of int32, shape (A, N, 3), optional
        What each attack spent on each example: iterations or queries, forward passes, gradients.
        Of every survivor it is the whole budget, unless a claim on it is among the unconfirmed.
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
        """Whether each example withstood every attack, shape (N,)."""
        return np.equal(self.broken_by, SURVIVED)

    @property
    def left(self) -> tuple[int, ...]:
        """How many examples were left after each attack and those before it."""
        return tuple(
            int(np.count_nonzero(self.robust | (self.broken_by > index)))
            for index in range(len(self.attacks))
        )

    def spent_on_survivors(self) -> tuple[dict[str, list[int]], ...]:
        """Return the least and the most that each attack spent on an example that survived all.

        Returns
        -------
        tuple of dict
            For each attack, ``"steps"``, ``"forwards"`` and ``"gradients"`` with two numbers each;
            empty where nothing survived or nothing was counted.
        """
        if self.spent is None or not self.robust.any():
            return tuple({} for _ in self.attacks)
        of_survivors = self.spent[:, self.robust]
        return tuple(
            {
                name: [int(counts[:, place].min()), int(counts[:, place].max())]
                for place, name in enumerate(("steps", "forwards", "gradients"))
            }
            for counts in of_survivors
        )
