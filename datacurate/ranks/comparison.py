"""Two total orders of the same examples, compared in every way the papers do, also by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import UsageError
from datacurate.ranks.agreement import (
    TOP,
    agreement,
    kendall,
    most_problematic,
    overlap,
    shared_rows,
)
from datacurate.ranks.ranking import Ranking


@dataclass(frozen=True)
class Comparison:
    """How far two orders agree on some examples.

    Attributes
    ----------
    examples : int
        How many both rank.
    spearman, kendall : float
        Of the scores, in [−1, 1]; NaN where a score is constant.
    top : int
        How many of the most problematic examples of each are compared.
    iou : float
        Intersection over union of these.
    kept : int
        How many of the most friendly examples of each would be kept.
    overlap : float
        Which part of these both keep.
    """

    examples: int
    spearman: float
    kendall: float
    top: int
    iou: float
    kept: int
    overlap: float

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes for JSON, which has no NaN: it becomes null."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in vars(self).items()
        }


def compare(
    first: Ranking,
    second: Ranking,
    keep: int,
    *,
    fraction: float = TOP,
    rows: npt.NDArray[np.integer[Any]] | None = None,
) -> Comparison:
    """Compare two orders on the examples that both rank.

    Parameters
    ----------
    first, second : Ranking
        Of the same N examples.
    keep : int
        How many of the examples compared are kept.
    fraction : float
        The most problematic part that is compared, in (0, 1].
    rows : ndarray of int, optional
        Look at these rows alone, such as those of one class.

    Raises
    ------
    DataError
        If the orders are of different lengths or share no example.
    UsageError
        If `keep` is out of range.
    """
    shared = shared_rows(first, second, rows)
    if not 1 <= keep <= len(shared):
        raise UsageError(
            f"{keep:,} examples cannot be kept",
            expected=f"1 to {len(shared):,}, the number of examples that both rank",
            got=f"{keep:,}",
        )
    found = agreement(first, second, fraction, shared)
    dropped = len(shared) - keep
    kept = [
        np.flatnonzero(~most_problematic(ranking.position[shared], dropped))
        for ranking in (first, second)
    ]
    return Comparison(
        examples=found.examples,
        spearman=found.spearman,
        kendall=kendall(first.score[shared], second.score[shared]),
        top=found.top,
        iou=found.iou,
        kept=keep,
        overlap=overlap(kept[0], kept[1]),
    )


def compare_by_class(
    first: Ranking,
    second: Ranking,
    labels: npt.NDArray[np.integer[Any]],
    share: float,
    *,
    fraction: float = TOP,
) -> dict[int, Comparison]:
    """Compare two orders within each class, of which the given share is kept, in (0, 1]."""
    shared = shared_rows(first, second, None)
    found = {}
    for label in np.unique(labels[shared]).tolist():
        rows = shared[labels[shared] == label]
        keep = max(round(share * len(rows)), 1)
        found[label] = compare(first, second, keep, fraction=fraction, rows=rows)
    return found


def mean_comparison(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Return the means of the four coefficients over several pairs."""
    return {
        name: float(np.mean([getattr(each, name) for each in comparisons]))
        for name in ("spearman", "kendall", "iou", "overlap")
    }
