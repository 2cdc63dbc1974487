"""Are these enough runs? What the runs of one profile say about profiles of other seeds.

Runs differ by chance in initial weights and data order. Two disjoint halves of the runs are two
independent, smaller profiles. Their agreement, for growing halves, shows what one more run brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datacurate.errors import UsageError
from datacurate.ranks.agreement import TOP, intersection_over_union, most_problematic, spearman
from datacurate.ranks.ranking import I64, NOT_RANKED, Ranking, problematic_rank

_LEVEL = 0.95
CERTAIN = 0.95
"""The share of repetitions in which an example is kept, from which on it counts as certain."""


@dataclass(frozen=True)
class Interval:
    """A mean over repetitions and the interval that holds 95 % of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class HalvesAgreement:
    """How far two disjoint profiles of so many runs each agree.

    Attributes
    ----------
    runs : int
        Of each half.
    spearman, iou : Interval
        Rank correlation, and intersection over union of the most problematic examples.
    """

    runs: int
    spearman: Interval
    iou: Interval


@dataclass(frozen=True)
class Enough:
    """What more runs would change.

    Attributes
    ----------
    runs : int
        R, of the profile.
    repetitions : int
    halves : tuple of HalvesAgreement
        For 1 to R // 2 runs in each half.
    expected_spearman : float
        With another profile of R runs, extrapolated from the largest halves by the formula of
        Spearman and Brown: an estimate, not a measurement.
    kept : int
        K, how many examples are kept.
    uncertain_kept : int
        How many of them other runs might well drop: kept in less than 95 % of repetitions.
    uncertain_dropped : int
        How many of the dropped ones are kept in more than 5 % of repetitions.
    """

    runs: int
    repetitions: int
    halves: tuple[HalvesAgreement, ...]
    expected_spearman: float
    kept: int
    uncertain_kept: int
    uncertain_dropped: int


def enough_runs(
    runs: Sequence[Ranking],
    keep: int,
    *,
    fraction: float = TOP,
    repetitions: int = 100,
    seed: int = 0,
) -> Enough:
    """Return how far disjoint halves of the runs agree, and how certain a selection is.

    Profiles of several runs are averages of their problematic ranks (Dong et al. 2021, appendix
    A.2), whatever the aggregate of the file.

    A repetition of the agreement draws two disjoint sets of runs at random and, with replacement,
    as many examples as there are: its interval covers the choice of the runs and of the examples.
    A repetition of the selection draws R runs with replacement and keeps the `keep` most friendly
    examples by their mean rank. With few runs such draws know little of the runs that were not
    made, and the counts of uncertain examples are too small rather than too large.

    Parameters
    ----------
    runs : sequence of Ranking
        The total order of each run, of the same N examples; two or more.
    keep : int
        K, from 1 to the number of ranked examples.
    fraction : float
        The most problematic part that is compared, in (0, 1].
    repetitions : int
    seed : int

    Raises
    ------
    UsageError
        If there is only one run, or `keep` is out of range.
    """
    if len(runs) < 2:
        raise UsageError(
            "one run says nothing about other runs",
            expected="two runs or more",
            got=f"{len(runs)}",
            hint="profile with --set runs=3",
        )
    rows = np.flatnonzero(runs[0].position != NOT_RANKED)
    if not 1 <= keep <= len(rows):
        raise UsageError(
            f"{keep:,} examples cannot be kept",
            expected=f"1 to {len(rows):,}, the number of profiled examples",
            got=f"{keep:,}",
        )
    # Scores decide and each run's own positions break their ties, so that sums seldom tie.
    ranks = np.stack([problematic_rank(run.score[rows]) for run in runs], axis=1)
    ties = np.stack([run.position[rows] for run in runs], axis=1)
    chance = np.random.default_rng(seed)
    halves = tuple(
        _halves(ranks, ties, size, fraction, repetitions, chance)
        for size in range(1, len(runs) // 2 + 1)
    )
    largest = halves[-1]
    times = len(runs) / largest.runs
    r = largest.spearman.mean
    uncertain_kept, uncertain_dropped = _uncertain(ranks, ties, keep, repetitions, chance)
    return Enough(
        runs=len(runs),
        repetitions=repetitions,
        halves=halves,
        expected_spearman=times * r / (1 + (times - 1) * r),
        kept=keep,
        uncertain_kept=uncertain_kept,
        uncertain_dropped=uncertain_dropped,
    )


def _halves(
    ranks: I64,
    ties: I64,
    size: int,
    fraction: float,
    repetitions: int,
    chance: np.random.Generator,
) -> HalvesAgreement:
    examples, runs = ranks.shape
    top = max(round(fraction * examples), 1)
    found = np.empty((repetitions, 2))
    for repetition in range(repetitions):
        drawn = chance.permutation(runs)[: 2 * size]
        rows = chance.integers(0, examples, examples)
        sums, orders = [], []
        for half in (drawn[:size], drawn[size:]):
            total = ranks[:, half].sum(axis=1)[rows]
            sums.append(total)
            orders.append(_order(total, ties[:, half].sum(axis=1)[rows]))
        found[repetition] = (
            spearman(*sums),
            intersection_over_union(*(most_problematic(order, top) for order in orders)),
        )
    return HalvesAgreement(size, _interval(found[:, 0]), _interval(found[:, 1]))


def _uncertain(
    ranks: I64, ties: I64, keep: int, repetitions: int, chance: np.random.Generator
) -> tuple[int, int]:
    """Return how many of the kept, and of the dropped examples, are not certain to be."""
    examples, runs = ranks.shape
    kept = ~most_problematic(_order(ranks.sum(axis=1), ties.sum(axis=1)), examples - keep)
    times = np.zeros(examples, dtype=np.int64)
    for _ in range(repetitions):
        weights = np.bincount(chance.integers(0, runs, runs), minlength=runs)
        order = _order(ranks @ weights, ties @ weights)
        times += ~most_problematic(order, examples - keep)
    share = times / repetitions
    return (
        int(np.count_nonzero(kept & (share < CERTAIN))),
        int(np.count_nonzero(~kept & (share > 1 - CERTAIN))),
    )


def _order(total: I64, ties: I64) -> I64:
    """Return each example's place by sums of ranks, then by sums of positions, then by row."""
    # Both are below R · M, so one number holds them; a single sort is half the time of two.
    key = total * (int(ties.max()) + 1) + ties
    place = np.empty(len(total), dtype=np.int64)
    place[np.argsort(key, kind="stable")] = np.arange(len(total))
    return place


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high))
