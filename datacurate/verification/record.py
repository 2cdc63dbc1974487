"""What a verification found: its members, their comparisons, and all of it as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datacurate.evaluation import Evaluation
from datacurate.ranks.statistics import Verdict
from datacurate.recipes import VerifyRecipe, as_dict, recipe_hash


@dataclass(frozen=True)
class Member:
    """One trained network of one arm, evaluated.

    Attributes
    ----------
    arm : str
    seed : int
    size : int
        Examples trained on.
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
    best_epoch: int
    epochs: int
    seconds: float
    best: Evaluation
    last: Evaluation


@dataclass(frozen=True)
class Comparison:
    """Kept against another arm, at the best checkpoints, in AutoAttack accuracy.

    Attributes
    ----------
    against : str
    verdict : Verdict
    mcnemar_p : tuple of float
        For each pair; see `datacurate.ranks.statistics.McNemar`.
    """

    against: str
    verdict: Verdict
    mcnemar_p: tuple[float, ...]


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    members : tuple of Member
    comparisons : tuple of Comparison
        Kept against every other arm.
    expected_detectable : float or None
        Smallest difference, in points, that was expected to be found in 80 % of repetitions, as
        stated before the run; see `stated_effect`.
    data, indices, hardware : mapping
        What was verified, and where.
    """

    recipe: VerifyRecipe
    members: tuple[Member, ...]
    comparisons: tuple[Comparison, ...]
    expected_detectable: float | None
    data: Mapping[str, Any]
    indices: Mapping[str, Any]
    hardware: Mapping[str, Any]

    def of(self, arm: str) -> list[Member]:
        """Return an arm's members, one a seed."""
        return [member for member in self.members if member.arm == arm]

    def against(self, arm: str) -> Comparison:
        """Return the comparison of kept with another arm."""
        return next(found for found in self.comparisons if found.against == arm)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single examples, for JSON."""
        return {
            "recipe": as_dict(self.recipe),
            "recipe_hash": recipe_hash(self.recipe),
            "data": dict(self.data),
            "indices": dict(self.indices),
            "hardware": dict(self.hardware),
            "selection": (
                "test examples (as the paper does: the best checkpoint has seen them)"
                if self.recipe.select == "test"
                else f"{self.recipe.held_out:.0%} of the training examples, held out of every arm"
            ),
            "expected_detectable_points": self.expected_detectable,
            "members": [
                {
                    "arm": member.arm,
                    "seed": member.seed,
                    "examples": member.size,
                    "best_epoch": member.best_epoch,
                    "epochs": member.epochs,
                    "seconds": round(member.seconds, 3),
                    "best": member.best.as_dict(),
                    "last": member.last.as_dict(),
                }
                for member in self.members
            ],
            "comparisons": [
                {
                    "kept_against": found.against,
                    **found.verdict.as_dict(),
                    "mcnemar_p": list(found.mcnemar_p),
                }
                for found in self.comparisons
            ],
        }
