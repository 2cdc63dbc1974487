"""Agreement of two rankings of the same examples (Dong et al. 2021, A.2 and figures 5 to 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from datacurate.errors import DataError
from datacurate.ranks.ranking import I64, NOT_RANKED, Ranking

TOP = 0.2
"""The fraction of most problematic examples that the papers compare."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two rankings over some examples.

    Attributes
    ----------
    examples : int
        How many both rank.
    spearman : float
        Rank correlation of the scores, in [−1, 1]; NaN where a score is constant.
    top : int
        How many of the most problematic examples of each are compared.
    iou : float
        Intersection over union of these, in [0, 1].
    """

    examples: int
    spearman: float
    top: int
    iou: float


def agreement(
    first: Ranking,
    second: Ranking,
    fraction: float = TOP,
    rows: npt.NDArray[np.integer[Any]] | None = None,
) -> Agreement:
    """Return how far two rankings agree on the examples that both rank.

    Parameters
    ----------
    first, second : Ranking
        Of the same N examples.
    fraction : float
        Of the examples compared, in (0, 1]; the top is this many of the most problematic ones, at
        least one, ties decided by the rankings' own order.
    rows : ndarray of int, optional
        Look at these rows alone, such as those of one class; the top is theirs.

    Raises
    ------
    DataError
        If the rankings are of different lengths or share no example.
    """
    shared = shared_rows(first, second, rows)
    top = max(round(fraction * len(shared)), 1)
    most_first = most_problematic(first.position[shared], top)
    most_second = most_problematic(second.position[shared], top)
    return Agreement(
        examples=len(shared),
        spearman=spearman(first.score[shared], second.score[shared]),
        top=top,
        iou=intersection_over_union(most_first, most_second),
    )


def agreement_by_class(
    first: Ranking,
    second: Ranking,
    labels: npt.NDArray[np.integer[Any]],
    fraction: float = TOP,
) -> dict[int, Agreement]:
    """Return the agreement within each class that has examples ranked by both."""
    shared = shared_rows(first, second, None)
    by_class = shared[np.argsort(labels[shared], kind="stable")]
    classes, starts = np.unique(labels[by_class], return_index=True)
    return {
        int(label): agreement(first, second, fraction, rows)
        for label, rows in zip(classes, np.split(by_class, starts[1:]), strict=True)
    }


def spearman(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return Spearman's correlation of two scores of shape (M,); ties share their mean rank."""
    a = stats.rankdata(first) - (len(first) + 1) / 2
    b = stats.rankdata(second) - (len(second) + 1) / 2
    scale = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    return float(np.dot(a, b)) / scale if scale > 0 else float("nan")


def intersection_over_union(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sets given as masks; 1 for two empty sets."""
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0


def overlap(first: I64, second: I64) -> float:
    """Return which part of the first selection the second one shares, in [0, 1].

    Parameters
    ----------
    first, second : ndarray of int64
        Rows, ascending and unique, as `datacurate.selection.select` returns them; of equal size
        the overlap is the same both ways.
    """
    shared = np.intersect1d(first, second, assume_unique=True)
    return len(shared) / len(first) if len(first) else 1.0


def most_problematic(position: I64, top: int) -> npt.NDArray[np.bool_]:
    """Return which of some examples are the `top` most problematic ones by position, as a mask."""
    mask = np.zeros(len(position), dtype=np.bool_)
    if top:
        mask[np.argpartition(position, len(position) - top)[len(position) - top :]] = True
    return mask


def kendall(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Return Kendall's τ-b of two scores of shape (M,); NaN where one is constant."""
    return float(stats.kendalltau(first, second).statistic)


def shared_rows(
    first: Ranking, second: Ranking, rows: npt.NDArray[np.integer[Any]] | None
) -> npt.NDArray[np.intp]:
    """Return the rows that both rankings rank, or those of them that are in `rows`."""
    if len(first.position) != len(second.position):
        raise DataError(
            "rankings of different data cannot be compared",
            expected=f"{len(first.position):,} examples",
            got=f"{len(second.position):,}",
        )
    both = (first.position != NOT_RANKED) & (second.position != NOT_RANKED)
    shared = np.flatnonzero(both) if rows is None else rows[both[rows]]
    if len(shared) == 0:
        raise DataError("the rankings share no example")
    return shared
