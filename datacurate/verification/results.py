"""What a verification found: its members and their comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacurate.evaluation import Evaluation
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import VerifyRecipe
from datacurate.verification.comparing import Comparison


@dataclass(frozen=True)
class Member:
    """One trained network of one arm, evaluated.

    Attributes
    ----------
    arm : str
    seed : int
    size : int
        Examples trained on.
    rows_sha256 : str
        Of their rows, as little-endian int64.
    best_epoch, epochs : int
        1-based epoch of the best checkpoint, and how many there were.
    seconds : float
        Of the training.
    best, last : Evaluation
        At the best checkpoint and after the last epoch; the same examples for every member.
    """

    arm: str
    seed: int
    size: int
    rows_sha256: str
    best_epoch: int
    epochs: int
    seconds: float
    best: Evaluation
    last: Evaluation

    def evaluations(self) -> dict[str, Evaluation]:
        """Return the evaluations under their names; one where best and last are one network."""
        if self.best_epoch == self.epochs:
            return {"best": self.best}
        return {"best": self.best, "last": self.last}


@dataclass(frozen=True)
class StandardMember:
    """One network of one arm by standard training, for the cross-generalisation gap.

    Attributes
    ----------
    arm : str
    seed : int
    best_epoch, epochs : int
        The best checkpoint is that of highest clean accuracy.
    seconds : float
        Of the training.
    best, last : Accuracy
        On the unperturbed examples.
    """

    arm: str
    seed: int
    best_epoch: int
    epochs: int
    seconds: float
    best: Accuracy
    last: Accuracy


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    members : tuple of Member
    standard : tuple of StandardMember
        None unless the recipe asks for them.
    comparisons : tuple of Comparison
    expected_detectable : float or None
        Smallest difference, in points, that was expected to be found in 80 % of repetitions, as
        stated before the run; see `datacurate.verification.stated_effect`.
    data, arms, hardware : mapping
        What was verified, where each arm comes from, and where it ran.
    command : sequence of str
        The command line, if there was one.
    """

    recipe: VerifyRecipe
    members: tuple[Member, ...]
    standard: tuple[StandardMember, ...]
    comparisons: tuple[Comparison, ...]
    expected_detectable: float | None
    data: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    hardware: Mapping[str, Any]
    command: Sequence[str] = ()

    def of(self, arm: str) -> list[Member]:
        """Return an arm's members, one a seed."""
        return [member for member in self.members if member.arm == arm]

    def comparison(self, judged: str, against: str) -> Comparison:
        """Return the comparison of two arms."""
        return next(
            found
            for found in self.comparisons
            if (found.judged, found.against) == (judged, against)
        )
