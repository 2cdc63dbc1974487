"""What a verification found: its members, their comparisons, and all of it as a record."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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


@dataclass(frozen=True)
class Comparison:
    """One arm against another, at the best checkpoints, in AutoAttack accuracy.

    Attributes
    ----------
    judged, against : str
        Arms. The verdict's difference is that of the first less that of the second.
    verdict : Verdict
    mcnemar_p : tuple of float
        For each pair; see `datacurate.ranks.statistics.McNemar`.
    """

    judged: str
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
    expected_detectable : float or None
        Smallest difference, in points, that was expected to be found in 80 % of repetitions, as
        stated before the run; see `datacurate.verification.stated_effect`.
    data, arms, hardware : mapping
        What was verified, where each arm comes from, and where it ran.
    """

    recipe: VerifyRecipe
    members: tuple[Member, ...]
    comparisons: tuple[Comparison, ...]
    expected_detectable: float | None
    data: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    hardware: Mapping[str, Any]

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

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return {
            "recipe": as_dict(self.recipe),
            "recipe_hash": recipe_hash(self.recipe),
            "data": dict(self.data),
            "arms": {name: dict(about) for name, about in self.arms.items()},
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
                    "rows_sha256": member.rows_sha256,
                    "best_epoch": member.best_epoch,
                    "epochs": member.epochs,
                    "seconds": round(member.seconds, 3),
                    "best": evaluated(member.best),
                    "last": evaluated(member.last),
                }
                for member in self.members
            ],
            "comparisons": [
                {
                    "judged": found.judged,
                    "against": found.against,
                    **found.verdict.as_dict(),
                    "mcnemar_p": list(found.mcnemar_p),
                }
                for found in self.comparisons
            ],
        }


def evaluated(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation for JSON, with what became of each example."""
    return {
        **evaluation.as_dict(),
        "examples": {
            "broken_by": packed(evaluation.outcome.broken_by),
            "pgd10": packed(evaluation.pgd10.astype(np.int8)),
        },
    }


def packed(values: npt.NDArray[np.int8]) -> str:
    """Return small whole numbers, one an example, as a short text: base64 of zlib of int8."""
    return base64.b64encode(zlib.compress(values.astype(np.int8).tobytes(), 9)).decode()


def unpacked(text: str) -> npt.NDArray[np.int8]:
    """Return what `packed` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.int8)
