"""What the arms' differences say: from what became of each example, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.ranks.statistics import McNemar, Verdict, mcnemar, simultaneous_level, verdict

Robust = Mapping[tuple[str, int], npt.NDArray[np.bool_]]
"""For each arm and seed, whether each example withstood, shape (N,)."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another, at the best checkpoints, in accuracy under the suite.

    Attributes
    ----------
    judged, against : str
        Arms. The verdict's difference is that of the first less that of the second.
    verdict : Verdict
    within : tuple of McNemar
        For each pair, in the order of the seeds.
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


def compared(
    robust: Robust, pairs: Sequence[tuple[str, str]], seeds: Sequence[int]
) -> tuple[Comparison, ...]:
    """Return the comparisons of pairs of arms; together their intervals hold in 95 % of cases.

    Parameters
    ----------
    robust : mapping
    pairs : sequence of (str, str)
        Which arm is judged against which.
    seeds : sequence of int
        Those that every arm was trained with.
    """
    level = simultaneous_level(len(pairs))
    found = []
    for judged, against in pairs:
        first = [robust[judged, seed] for seed in seeds]
        second = [robust[against, seed] for seed in seeds]
        gains = [
            100 * (int(a.sum()) - int(b.sum())) / len(a) for a, b in zip(first, second, strict=True)
        ]
        within = tuple(mcnemar(a, b) for a, b in zip(first, second, strict=True))
        found.append(
            Comparison(judged, against, verdict(gains, len(first[0]), level=level), within)
        )
    return tuple(found)


def correction(comparisons: int) -> str:
    """Return in words what was done about several comparisons."""
    if comparisons < 2:
        return "none: one comparison"
    return (
        f"Bonferroni: {comparisons} comparisons, each at "
        f"{100 * simultaneous_level(comparisons):.4g}%, hold together at 95%"
    )
