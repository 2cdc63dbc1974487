"""Is one arm better than another? Intervals, tests, and the effect that they can detect.

Accuracies and their differences are in percentage points. The unit of repetition is the seed: two
trainings that differ only by chance also differ in accuracy, and only repeated pairs show by how
much. An interval over seeds holds for these test examples, not for others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from datacurate.errors import UsageError

Points = npt.NDArray[np.float64]
Word = Literal["better", "worse", "no detectable difference"]

_SEED_SD = 0.25  # Dong et al. 2021, Table 1: 0.22 to 0.26 points over five trainings
_SEED_SD_EXAMPLES = 10_000


@dataclass(frozen=True)
class Accuracy:
    """A count of correct examples as a share of all.

    Attributes
    ----------
    correct, n : int
    """

    correct: int
    n: int

    @property
    def percent(self) -> float:
        """The share in percent."""
        return 100 * self.correct / self.n

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Wilson's interval in percent: the error of sampling `n` examples, no other."""
        found = stats.binomtest(self.correct, self.n).proportion_ci(level, method="wilson")
        return 100 * float(found.low), 100 * float(found.high)

    def as_dict(self) -> dict[str, Any]:
        """Return the share, its 95 % interval and its counts, for JSON."""
        return {
            "percent": self.percent,
            "interval95": list(self.interval()),
            "correct": self.correct,
            "n": self.n,
        }


@dataclass(frozen=True)
class McNemar:
    """The exact test of McNemar within one pair of models on the same examples.

    Attributes
    ----------
    gained : int
        Examples that only the first model gets right.
    lost : int
        Examples that only the second gets right.
    p : float
        Two-sided probability of a split at least as uneven if both were as likely. It tells two
        trained models apart, not two ways to train: a change of seed alone often makes it small.
    """

    gained: int
    lost: int
    p: float


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar:
    """Compare two models on the same examples.

    Parameters
    ----------
    first, second : ndarray of bool, shape (N,)
        Whether each example is right.
    """
    if first.shape != second.shape:
        raise UsageError(
            "the two models were not evaluated on the same examples",
            expected=f"{len(first):,} examples",
            got=f"{len(second):,}",
        )
    gained = int(np.count_nonzero(first & ~second))
    lost = int(np.count_nonzero(second & ~first))
    if gained + lost == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(gained, lost, float(stats.binomtest(gained, gained + lost).pvalue))


@dataclass(frozen=True)
class Verdict:
    """What paired seeds say about a difference.

    Attributes
    ----------
    word : str
        ``"better"``, ``"worse"`` or ``"no detectable difference"``.
    reason : str
        One sentence with the figures it rests on.
    mean : float
        Mean difference in points.
    sd : float or None
        Spread of the differences over seeds, in points; None for one seed.
    low, high : float or None
        Ends of the interval for the mean difference, in points; None for one seed.
    level : float
        Of the interval.
    seeds : int
    n : int
        Examples evaluated for each seed.
    detectable : float or None
        Smallest difference in points that so many seeds with this spread would find in 80 % of
        repetitions; None for one seed.
    """

    word: Word
    reason: str
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    level: float
    seeds: int
    n: int
    detectable: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes, for JSON."""
        return asdict(self)


def verdict(differences: npt.ArrayLike, n: int, *, level: float = 0.95) -> Verdict:
    """Judge a difference between two arms by Student's interval over paired seeds.

    The spread is taken as at least one example's share (100/n points): accuracies are counted in
    whole examples, and two seeds that happen to agree to the example are no proof of certainty.

    Parameters
    ----------
    differences : array_like of float, shape (R,)
        First arm minus second, in points, one value for each seed.
    n : int
        Examples evaluated for each.
    level : float
        Of the interval; a true difference of zero is called better or worse in 1 − level of cases.
        For one of several verdicts take `simultaneous_level`.

    Raises
    ------
    UsageError
        If there is no difference, or one is not finite.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UsageError(
            "a verdict needs the difference of each seed",
            expected="one finite number a seed, at least one",
            got=str(values.tolist()),
        )
    seeds, mean = len(values), float(values.mean())
    if seeds == 1:
        reason = (
            f"one pair differs by {mean:+.2f} points on {n:,} examples, and one pair cannot "
            "separate the choice of examples from the noise of training"
        )
        return Verdict(
            "no detectable difference", reason, mean, None, None, None, level, 1, n, None
        )
    sd, low, high = (float(value) for value in interval(values, n, level=level))
    detectable = minimum_detectable_effect(seeds, sd, level=level)
    word: Word = "better" if low > 0 else "worse" if high < 0 else "no detectable difference"
    reason = (
        f"over {seeds} seeds on {n:,} examples the difference is {mean:+.2f} points, and its "
        f"{100 * level:.4g}% interval [{low:+.2f}, {high:+.2f}] "
    )
    reason += "includes zero" if word == "no detectable difference" else "excludes zero"
    if word == "no detectable difference" and detectable is not None and detectable < 100:
        reason += f"; with this spread {detectable:.2f} points would be seen in 80% of repetitions"
    return Verdict(word, reason, mean, sd, low, high, level, seeds, n, detectable)


def interval(differences: Points, n: int, *, level: float = 0.95) -> tuple[Points, Points, Points]:
    """Return spread and ends of Student's interval for the mean of paired differences.

    Parameters
    ----------
    differences : ndarray of float, shape (..., R)
        In points; at least two in the last axis.
    n : int
        Examples evaluated for each: the spread is at least 100/n points, one example's share.
    level : float

    Returns
    -------
    sd, low, high : ndarray of float, shape (...)
    """
    seeds, mean = differences.shape[-1], differences.mean(axis=-1)
    sd = np.maximum(differences.std(axis=-1, ddof=1), 100 / n)
    half = stats.t.ppf((1 + level) / 2, seeds - 1) * sd / seeds**0.5
    return sd, mean - half, mean + half


def simultaneous_level(comparisons: int, family: float = 0.95) -> float:
    """Return the level of each of several intervals that together hold at the family's level.

    Bonferroni's: the chance that any of them errs is at most the sum of their chances, however
    they depend on each other. Interval and verdict then say the same, which they would not after
    a stepwise correction.
    """
    return 1 - (1 - family) / max(comparisons, 1)


def assumed_difference_sd(
    n: int, *, seed_sd: float = _SEED_SD, measured_on: int = _SEED_SD_EXAMPLES
) -> float:
    """Return the spread of a pair's difference to expect before any was measured, in points.

    Two trainings disagree on single examples as if by chance. So the spread of an accuracy over
    seeds is proportional to one over the square root of the number of examples. A common rise or
    fall of all examples, which does not depend on that number, is assumed to be zero, so the result
    is too large rather than too small. With more examples than `measured_on`, the spread is not
    assumed to be smaller.

    Parameters
    ----------
    n : int
        Examples evaluated.
    seed_sd : float
        Standard deviation of one arm's accuracy over seeds, in points. The default is that of
        Dong et al. 2021, Table 1: a PreAct ResNet-18 on CIFAR-10 under AutoAttack.
    measured_on : int
        Examples that `seed_sd` was counted on.
    """
    return float((2 * max(1.0, measured_on / n)) ** 0.5 * seed_sd)


def minimum_detectable_effect(
    seeds: int, difference_sd: float, *, power: float = 0.8, level: float = 0.95
) -> float | None:
    """Return the smallest true difference that a verdict finds with given power, in points.

    The two-sided t test's power is the tail of the noncentral t distribution beyond the interval's
    critical value.

    Parameters
    ----------
    seeds : int
    difference_sd : float
        Standard deviation of a pair's difference, in points: measured, or
        `assumed_difference_sd`.
    power : float
        Probability of a verdict other than "no detectable difference".
    level : float
        Of the verdict's interval.

    Returns
    -------
    float or None
        None for one seed, which detects nothing whatever the difference.
    """
    if seeds < 2:
        return None
    freedom = seeds - 1
    critical = float(stats.t.ppf((1 + level) / 2, freedom))

    def excess(shift: float) -> float:
        return float(stats.nct.sf(critical, freedom, shift)) - power

    # With one degree of freedom the critical value is 12.7 and the shift needed about 50.
    shift = float(optimize.brentq(excess, 0.0, 20 * critical))
    return shift * difference_sd / float(np.sqrt(seeds))
