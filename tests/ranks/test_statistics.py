from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from datacurate.errors import UsageError
from datacurate.ranks.statistics import (
    Accuracy,
    assumed_difference_sd,
    interval,
    mcnemar,
    minimum_detectable_effect,
    simultaneous_level,
    verdict,
)

F64 = npt.NDArray[np.float64]


def test_interval_is_students() -> None:
    differences = [0.4, 1.1, 0.7, 0.2, 0.9]
    found = verdict(differences, 10_000)
    test = stats.ttest_1samp(differences, 0.0)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.word == "better"
    assert verdict([-d for d in differences], 10_000).word == "worse"
    assert "+0.66 points" in found.reason


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.integers(50, 10_000))
def test_word_is_what_the_interval_says(differences: list[float], n: int) -> None:
    found = verdict(differences, n)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high
    assert (found.word == "better") == (found.low > 0)
    assert (found.word == "worse") == (found.high < 0)


def test_one_pair_proves_nothing() -> None:
    found = verdict([7.0], 10_000)
    assert found.word == "no detectable difference"
    assert "one pair" in found.reason
    assert (found.sd, found.low, found.high, found.detectable) == (None,) * 4
    assert found.as_dict()["mean"] == 7.0


def test_agreement_to_the_example_is_no_certainty() -> None:
    assert verdict([1.0, 1.0], 100).word == "no detectable difference"
    assert verdict([1.0, 1.0, 1.0], 100).sd == 1.0
    assert verdict([1.0, 1.0, 1.0], 10_000).word == "better"


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [float("inf")], [[1.0, 2.0]]])
def test_refuses_what_is_no_difference(bad: Any) -> None:
    with pytest.raises(UsageError, match="each seed"):
        verdict(bad, 100)


def simulate(
    seeds: int,
    n: int,
    effects: tuple[float, ...],
    repetitions: int,
    chance: np.random.Generator,
    trials: int = 50,
) -> F64:
    """Return differences in points, shape (repetitions, seeds, len(effects)), of trained arms.

    Whole experiments: examples are right with probabilities spread as robust accuracies are (many
    near 0 and 1), so that two trainings disagree on some 15 %; each training moves all of them
    together a little; and in each arm they are raised by its effect, in points of the mean, above
    those of the arm that all are compared with.
    """
    found = np.empty((repetitions, seeds, len(effects)))
    for start in range(0, repetitions, trials):
        probability = chance.beta(0.35, 0.35, size=n).astype(np.float32)
        room = probability * (1 - probability)
        together = chance.normal(0, 0.002, size=(trials, seeds, len(effects) + 1))
        accuracies = np.empty(together.shape)
        for arm, effect in enumerate((0.0, *effects)):
            raised = probability + np.float32(effect / 100) * room / room.mean()
            drawn = chance.random((trials, seeds, n), dtype=np.float32)
            drawn -= together[:, :, arm, None].astype(np.float32)
            accuracies[:, :, arm] = 100 * (drawn < raised).mean(axis=2)
        found[start : start + trials] = accuracies[:, :, 1:] - accuracies[:, :, :1]
    return found


def called(
    differences: F64, n: int, level: float = 0.95
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return for each experiment of shape (..., seeds) whether it is called better, and worse."""
    _, low, high = interval(differences, n, level=level)
    return low > 0, high < 0


def test_the_interval_is_that_of_the_verdict() -> None:
    differences = np.random.default_rng(0).normal(0.5, 0.6, size=(20, 4))
    for level in (0.95, simultaneous_level(3)):
        sd, low, high = interval(differences, 1000, level=level)
        better, worse = called(differences, 1000, level)
        for index, row in enumerate(differences):
            found = verdict(row, 1000, level=level)
            assert (found.sd, found.low, found.high) == (sd[index], low[index], high[index])
            assert (found.word == "better", found.word == "worse") == (better[index], worse[index])
            assert f"{100 * level:.4g}% interval" in found.reason


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("n", [100, 1000])
def test_verdict_errs_at_its_level(seeds: int, n: int) -> None:
    differences = simulate(seeds, n, (0.0,), 2000, np.random.default_rng(seeds * n))[..., 0]
    wrong = int(np.logical_or(*called(differences, n)).sum())
    # 5 %, or less where a spread below one example's share is not believed: of few examples, and of
    # two seeds, which err when they happen to agree.
    assert stats.binomtest(wrong, 2000, 0.05, alternative="greater").pvalue > 0.001
    if n == 1000 and seeds > 2:
        assert stats.binomtest(wrong, 2000, 0.05).pvalue > 0.001


def test_several_verdicts_err_together_at_the_level_of_one() -> None:
    # Three arms against the same fourth: their differences go up and down together.
    differences = simulate(3, 1000, (0.0,) * 3, 3000, np.random.default_rng(5)).swapaxes(1, 2)
    alone, together = (
        np.logical_or(*called(differences, 1000, level)).any(axis=1).sum()
        for level in (0.95, simultaneous_level(3))
    )
    assert stats.binomtest(int(together), 3000, 0.05, alternative="greater").pvalue > 0.001
    assert stats.binomtest(int(alone), 3000, 0.05, alternative="greater").pvalue < 1e-6


def test_one_comparison_is_not_corrected() -> None:
    assert simultaneous_level(1) == 0.95
    assert simultaneous_level(2) == pytest.approx(0.975)
    assert simultaneous_level(5, 0.9) == pytest.approx(0.98)


@pytest.mark.parametrize(("seeds", "comparisons"), [(3, 1), (5, 1), (5, 2)])
def test_the_stated_effect_is_found_in_four_of_five_experiments(
    seeds: int, comparisons: int
) -> None:
    n, level = 1000, simultaneous_level(comparisons)
    chance = np.random.default_rng(seeds + comparisons)
    # The spread that these experiments have is known only from many of them.
    sd = float(simulate(seeds, n, (2.0,), 2000, chance).std())
    effect = minimum_detectable_effect(seeds, sd, level=level)
    assert effect is not None
    better, worse = called(simulate(seeds, n, (effect,), 2000, chance)[..., 0], n, level)
    assert 0.75 < better.mean() < 0.85
    assert not worse.any()


def test_the_known_effect_is_inside_the_interval() -> None:
    differences = simulate(4, 1000, (2.0,), 2000, np.random.default_rng(7))[..., 0]
    _, low, high = interval(differences, 1000)
    inside = int(np.count_nonzero((low <= 2.0) & (high >= 2.0)))
    assert stats.binomtest(inside, 2000, 0.95).pvalue > 0.001


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_detectable_effect_is_found_in_four_of_five(seeds: int) -> None:
    sd = 0.7
    effect = minimum_detectable_effect(seeds, sd)
    assert effect is not None
    draws = np.random.default_rng(seeds).normal(effect, sd, size=(2000, seeds))
    half = stats.t.ppf(0.975, seeds - 1) * draws.std(axis=1, ddof=1) / seeds**0.5
    found = int(np.count_nonzero(draws.mean(axis=1) > half))
    assert stats.binomtest(found, 2000, 0.8).pvalue > 0.001


def test_the_detectable_effect_scales() -> None:
    assert minimum_detectable_effect(1, 0.5) is None
    half = minimum_detectable_effect(3, 0.5)
    assert half is not None
    assert minimum_detectable_effect(3, 1.0) == pytest.approx(2 * half)
    by_seeds = [minimum_detectable_effect(seeds, 1.0) or 0.0 for seeds in range(2, 20)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    # Cohen's table: a paired test of 34 subjects finds half a standard deviation in four of five.
    assert minimum_detectable_effect(34, 1.0) == pytest.approx(0.5, abs=0.01)


def test_the_assumed_spread() -> None:
    assert assumed_difference_sd(10_000) == pytest.approx(0.25 * 2**0.5)
    assert assumed_difference_sd(100) == pytest.approx(10 * assumed_difference_sd(10_000))
    assert assumed_difference_sd(50_000) == assumed_difference_sd(10_000)
    simulated = simulate(1, 1000, (0.0,), 2000, np.random.default_rng(3)).std()
    # The published spread on 10,000 examples foretells about what independent examples give here.
    assert assumed_difference_sd(1000) == pytest.approx(simulated, rel=0.3)


def test_mcnemar_is_the_exact_binomial() -> None:
    first = np.array([True] * 12 + [False] * 3 + [True] * 80 + [False] * 5)
    second = np.array([False] * 12 + [True] * 3 + [True] * 80 + [False] * 5)
    found = mcnemar(first, second)
    assert (found.gained, found.lost) == (12, 3)
    # Twice the tail of Binomial(15, ½) from 12 on: (455 + 105 + 15 + 1) / 2¹⁵.
    assert found.p == pytest.approx(2 * 576 / 2**15)
    assert mcnemar(first, first).p == 1.0
    with pytest.raises(UsageError, match="same examples"):
        mcnemar(first, second[:-1])


@given(st.integers(1, 500), st.data())
def test_accuracy_lies_in_its_interval(n: int, data: st.DataObject) -> None:
    accuracy = Accuracy(data.draw(st.integers(0, n)), n)
    low, high = accuracy.interval()
    assert -1e-9 <= low <= accuracy.percent + 1e-9
    assert accuracy.percent - 1e-9 <= high <= 100 + 1e-9
