"""Compare arms, from the attack outcome of each example alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.ranks.statistics import McNemar, Verdict, mcnemar, simultaneous_level, verdict

Robust = Mapping[tuple[str, int], npt.NDArray[np.bool_]]
"""For each arm and seed, whether each example is robust, shape (N,)."""


@dataclass(frozen=True)
class Comparison:
    """One arm compared with another: robust accuracy under the suite, at the best checkpoints.

    Attributes
    ----------
    judged, against : str
        Names of arms. The difference is the accuracy of the first minus that of the second.
    verdict : Verdict
    within : tuple of McNemar
        McNemar's test of each pair, in the order of the seeds.
    """

    judged: str
    against: str
    verdict: Verdict
    within: tuple[McNemar, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison, for JSON."""
        return {
            "judged": self.judged,
            "against": self.against,
            **self.verdict.as_dict(),
            "mcnemar": [
                {"gained": pair.gained, "lost": pair.lost, "p": pair.p} for pair in self.within
            ],
        }


def compare_arms(
    robust: Robust, pairs: Sequence[tuple[str, str]], seeds: Sequence[int]
) -> tuple[Comparison, ...]:
    """Compare pairs of arms. All their intervals together hold in 95 % of repetitions.

    Parameters
    ----------
    robust : mapping
    pairs : sequence of (str, str)
        Which arm is judged against which.
    seeds : sequence of int
        The seeds that every arm was trained with.
    """
    level = simultaneous_level(len(pairs))
    comparisons = []
    for judged, against in pairs:
        first = [robust[judged, seed] for seed in seeds]
        second = [robust[against, seed] for seed in seeds]
        gains = [
            100 * (int(a.sum()) - int(b.sum())) / len(a) for a, b in zip(first, second, strict=True)
        ]
        within = tuple(mcnemar(a, b) for a, b in zip(first, second, strict=True))
        comparisons.append(
            Comparison(judged, against, verdict(gains, len(first[0]), level=level), within)
        )
    return tuple(comparisons)


def correction(comparisons: int) -> str:
    """Return in words how several comparisons are corrected for."""
    if comparisons < 2:
        return "none: one comparison"
    return (
        f"Bonferroni: {comparisons} comparisons, each at "
        f"{100 * simultaneous_level(comparisons):.4g}%, hold together at 95%"
    )
