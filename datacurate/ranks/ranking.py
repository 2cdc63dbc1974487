"""From scores to ranks: Eq. 4, its average over runs, and one deterministic total order.

Sums of ranks are sums of integers, and ties are broken by stated rules. So every machine arrives at
the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError, UnknownNameError, UsageError
from datacurate.fingerprints import mix64
from datacurate.ranks.scores import NEVER

Aggregation = Literal["mean-rank", "pooled"]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

NOT_RANKED = -1
"""Position of an example that was not profiled."""

_CELLS = 1 << 16


@dataclass(frozen=True)
class Ranking:
    """A total order of examples, and what it rests on.

    Attributes
    ----------
    score : ndarray of float64, shape (N,)
        High is problematic; NaN where not profiled.
    position : ndarray of int64, shape (N,)
        0 is the most friendly example, M − 1 the most problematic of the M profiled ones;
        `NOT_RANKED` elsewhere.
    probability : ndarray of float64, shape (N,), or None
        What broke ties of the score; None leaves them to the hash.
    """

    score: F64
    position: I64
    probability: F64 | None = None

    @property
    def order(self) -> I64:
        """The rows of the profiled examples from friendly to problematic, shape (M,)."""
        rows = np.flatnonzero(self.position != NOT_RANKED)
        order = np.empty(len(rows), dtype=np.int64)
        order[self.position[rows]] = rows
        return order


@dataclass(frozen=True)
class Ties:
    """How much of a total order the scores themselves decided.

    Attributes
    ----------
    examples : int
        How many are ranked.
    distinct : int
        How many different scores they have.
    by_probability : int
        Examples that share their score and are told apart by the mean adversarial true-class
        probability.
    by_hash : int
        Examples that share both, or have no probability, and are told apart by a hash.
    """

    examples: int
    distinct: int
    by_probability: int
    by_hash: int


def problematic_rank(score: npt.NDArray[Any]) -> I64:
    """Return how many examples have a strictly lower score: Rank(x) of Dong et al. 2021, Eq. 4.

    Parameters
    ----------
    score : ndarray of numbers, shape (N,)
        High is problematic. Equal scores share their rank.

    Returns
    -------
    ndarray of int64, shape (N,)
        From 0 to N − 1; equals ``scipy.stats.rankdata(score, method="min") - 1``.

    Raises
    ------
    DataError
        If a score is NaN.
    """
    refuse_nan(score, "a score")
    counted = _rank_by_counting(score)
    if counted is not None:
        return counted
    order = np.argsort(score)
    starts = np.flatnonzero(starts_group(score[order]))
    rank = np.empty(len(score), dtype=np.int64)
    rank[order] = np.repeat(starts, np.diff(starts, append=len(score)))
    return rank


def aggregate(
    instability: npt.NDArray[np.floating[Any]],
    how: Aggregation = "mean-rank",
    epochs: Sequence[int] | None = None,
) -> F64:
    """Return one normalised problematic rank from the learning instability of several runs.

    Parameters
    ----------
    instability : ndarray of float, shape (M, R)
        Of each profiled example in each run.
    how : str
        ``"mean-rank"`` averages the ranks of the runs (Dong et al. 2021, appendix A.2).
        ``"pooled"`` ranks the number of epochs at which an example was wrong, summed over all
        runs, as if they were one long run.
    epochs : sequence of int, length R
        T of each run; needed for ``"pooled"`` alone.

    Returns
    -------
    ndarray of float64, shape (M,)
        Rank/M, in [0, 1); high is problematic.

    Raises
    ------
    DataError
        If an instability is NaN.
    UsageError
        If there is no run, no `epochs` for pooling, or no such aggregation.
    """
    examples, runs = instability.shape
    if runs == 0:
        raise UsageError("there is no finished run to rank")
    total = np.zeros(examples, dtype=np.int64)
    if how == "mean-rank":
        for run in range(runs):
            total += problematic_rank(instability[:, run])
        # One division of exact integers: equal sums stay equal.
        return np.divide(total, float(runs * max(examples, 1)))
    if how != "pooled":
        raise UnknownNameError("aggregation", how, get_args(Aggregation))
    if epochs is None or len(epochs) != runs:
        raise UsageError("pooling counts needs the number of epochs of every run")
    for run, length in enumerate(epochs):
        refuse_nan(instability[:, run], "a learning instability")
        total += np.rint(instability[:, run].astype(np.float64) * length).astype(np.int64)
    return np.divide(problematic_rank(total), max(examples, 1))


def learning_order(first_learned: npt.NDArray[np.integer[Any]]) -> F64:
    """Return the mean over runs of each example's normalised rank by first learned epoch.

    Parameters
    ----------
    first_learned : ndarray of int, shape (M, R)
        Counted from 0; `NEVER` for examples that were never learned, which tie behind all others.

    Returns
    -------
    ndarray of float64, shape (M,)
        In [0, 1); high is learned late.
    """
    last = np.iinfo(first_learned.dtype).max
    total = np.zeros(len(first_learned), dtype=np.int64)
    for column in first_learned.T:
        total += problematic_rank(np.where(column == NEVER, last, column))
    return np.divide(total, max(first_learned.size, 1))


def rank(
    score: npt.NDArray[np.floating[Any]],
    label_fingerprint: str,
    *,
    probability: npt.NDArray[np.floating[Any]] | None = None,
    profiled: npt.NDArray[np.bool_] | None = None,
) -> Ranking:
    """Return the total order of examples from friendly to problematic.

    Equal scores are ordered by probability, the lower one being more problematic; equal
    probabilities by a hash of the example's row number and the label fingerprint.

    Parameters
    ----------
    score : ndarray of float, shape (N,)
        High is problematic.
    label_fingerprint : str
        Of the data set, in hex digits.
    probability : ndarray of float, shape (N,), optional
        Mean over runs of the mean adversarial true-class probability.
    profiled : ndarray of bool, shape (N,), optional
        Which examples have a score; all of them by default. The others are not ranked.

    Raises
    ------
    DataError
        If a score or a probability of a profiled example is NaN.
    """
    rows = np.arange(len(score)) if profiled is None else np.flatnonzero(profiled)
    known = score[rows].astype(np.float64)
    refuse_nan(known, "a score")
    tie_break = np.zeros(len(rows)) if probability is None else -probability[rows]
    refuse_nan(tie_break, "a probability")

    order = np.argsort(known)
    tied = _beside_an_equal(known[order])
    # Only tied examples need the later keys; they are sorted among the places they share.
    members = order[tied]
    hashes = _tie_hash(rows[members], label_fingerprint)
    within = np.lexsort((hashes, tie_break[members], known[members]))
    order[tied] = members[within]

    position = np.full(len(score), NOT_RANKED, dtype=np.int64)
    position[rows[order]] = np.arange(len(rows))
    values = np.full(len(score), np.nan)
    values[rows] = known
    return Ranking(
        values, position, None if probability is None else probability.astype(np.float64)
    )


def check_ranking(ranking: Ranking) -> None:
    """Raise unless positions are a permutation that follows the scores.

    Raises
    ------
    DataError
    """
    ranked = ranking.position != NOT_RANKED
    rows = np.flatnonzero(ranked)
    places = ranking.position[rows]
    refuse_nan(ranking.score[rows], "a score")
    inside = len(rows) == 0 or (places.min() >= 0 and places.max() < len(rows))
    if not inside or np.any(np.bincount(places, minlength=len(rows)) != 1):
        raise DataError(
            "the positions are not an order of the profiled examples",
            expected=f"each of 0 to {len(rows) - 1:,} once, and {NOT_RANKED} for the others",
        )
    score = ranking.score[ranking.order]
    if np.any(score[1:] < score[:-1]):
        raise DataError("the positions do not follow the scores")


def count_ties(ranking: Ranking) -> Ties:
    """Return how much of an order was decided by its scores, by probabilities and by the hash."""
    order = ranking.order
    score = ranking.score[order]
    tied = _beside_an_equal(score)
    if ranking.probability is None:
        still_tied = tied
    else:
        still_tied = _beside_an_equal(score, ranking.probability[order])
    by_hash = int(np.count_nonzero(still_tied))
    return Ties(
        examples=len(order),
        distinct=int(np.count_nonzero(starts_group(score))),
        by_probability=int(np.count_nonzero(tied)) - by_hash,
        by_hash=by_hash,
    )


def mean_over_runs(values: npt.NDArray[np.floating[Any]]) -> F64:
    """Return the mean of shape (N,) over the runs of an array of shape (N, R).

    The runs are summed one after another, so that the last bit is the same on every machine.
    """
    examples, runs = values.shape
    total = np.zeros(examples)
    for run in range(runs):
        total += values[:, run]
    return np.divide(total, runs)


def refuse_nan(values: npt.NDArray[Any], what: str) -> None:
    """Raise if a value is NaN, because NaN cannot be ordered.

    Raises
    ------
    DataError
    """
    if values.dtype.kind != "f":
        return
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"{what} is not a number",
            expected="a number for every profiled example",
            got=f"NaN for {len(missing):,} of {len(values):,}, the first at row {missing[0]:,}",
            hint="leave examples without a score out of the profiled ones",
        )


def _rank_by_counting(score: npt.NDArray[Any]) -> I64 | None:
    """Return the rank of scores of few, well separated values without sorting; None for others.

    Counts are such scores: T epochs give T + 1 values. Each value gets its own cell of a grid over
    the range. If two values share a cell, or the range is not finite, the function returns None.
    The cells are in the order of the values, so counting them gives the rank.
    """
    if len(score) < _CELLS:
        return None  # sorting costs less than the grid
    low, high = float(score.min()), float(score.max())
    if not np.isfinite(high - low):
        return None
    scale = (_CELLS - 1) / (high - low) if high > low else 0.0
    cell = (np.subtract(score, low, dtype=np.float64) * scale).astype(np.uint16)
    value = np.zeros(_CELLS, dtype=score.dtype)
    value[cell] = score
    if not np.array_equal(value[cell], score):
        return None
    counts = np.bincount(cell, minlength=_CELLS)
    rank: I64 = (np.cumsum(counts) - counts)[cell]
    return rank


def starts_group(*keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which entries of sorted keys differ in any key from the entry before them."""
    starts: npt.NDArray[np.bool_] = np.equal(np.arange(keys[0].size), 0)
    for key in keys:
        # Compared, not subtracted: equal infinities are ties.
        starts[1:] |= key[1:] != key[:-1]
    return starts


def _beside_an_equal(*keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which entries of sorted keys have a neighbour that is equal in every key."""
    starts = starts_group(*keys)
    tied = ~starts
    tied[:-1] |= ~starts[1:]
    return tied


def _tie_hash(rows: I64, label_fingerprint: str) -> npt.NDArray[np.uint64]:
    """Return a hash of each row; `mix64` is a bijection of it, so no two are equal."""
    return mix64(rows.astype(np.uint64), int(label_fingerprint[:16], 16))
