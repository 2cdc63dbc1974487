"""Are these enough runs? Against simulations in which the truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from datacurate.errors import UsageError
from datacurate.fingerprints import label_fingerprint
from datacurate.ranks.enough import enough_runs
from datacurate.ranks.ranking import Ranking, rank

EXAMPLES = 400
FINGERPRINT = label_fingerprint(np.zeros(2, dtype=np.int64))


def made(runs: int, noise: float, seed: int = 0) -> list[Ranking]:
    chance = np.random.default_rng(seed)
    truth = chance.normal(size=EXAMPLES)
    return [rank(truth + noise * chance.normal(size=EXAMPLES), FINGERPRINT) for _ in range(runs)]


def mean_rank(runs: list[Ranking]) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = np.mean([stats.rankdata(run.score) for run in runs], axis=0)
    return means


def test_equal_runs_agree_entirely_and_leave_nothing_uncertain() -> None:
    found = enough_runs(made(4, 0.0), 300, repetitions=20)
    assert [half.runs for half in found.halves] == [1, 2]
    for half in found.halves:
        assert half.spearman.mean == pytest.approx(1)
        assert half.iou.low == 1
    assert found.expected_spearman == pytest.approx(1)
    assert (found.uncertain_kept, found.uncertain_dropped) == (0, 0)


def test_agreement_grows_with_the_runs_and_lies_where_new_profiles_do() -> None:
    runs = made(8, 1.0)
    found = enough_runs(runs, 300)
    means = [half.spearman.mean for half in found.halves]
    assert means == sorted(means)
    assert len(means) == 4
    # One run against one: the mean over all pairs, computed plainly.
    each = [
        stats.spearmanr(runs[a].score, runs[b].score).statistic for a in range(8) for b in range(a)
    ]
    assert means[0] == pytest.approx(np.mean(each), abs=0.02)
    half = found.halves[0].spearman
    assert half.low < np.min(each) + 0.05 < np.max(each) < half.high + 0.05
    # Eight runs against eight that were never seen: the truth behind the extrapolation.
    chance = np.random.default_rng(0)
    truth = chance.normal(size=EXAMPLES)
    others = [
        rank(truth + np.random.default_rng(100 + i).normal(size=EXAMPLES), FINGERPRINT)
        for i in range(8)
    ]
    seen = stats.spearmanr(mean_rank(runs), mean_rank(others)).statistic
    assert found.expected_spearman == pytest.approx(seen, abs=0.02)


def test_noise_makes_the_kept_set_uncertain() -> None:
    quiet, loud = (enough_runs(made(6, noise), 300, repetitions=100) for noise in (0.1, 2.0))
    assert 0 < quiet.uncertain_kept < loud.uncertain_kept < 300
    assert quiet.uncertain_dropped < loud.uncertain_dropped <= 100


def test_the_same_seed_gives_the_same_answer() -> None:
    assert enough_runs(made(3, 1.0), 100, repetitions=15) == enough_runs(
        made(3, 1.0), 100, repetitions=15
    )


def test_one_run_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="one run says nothing"):
        enough_runs(made(1, 1.0), 100)
    with pytest.raises(UsageError, match="cannot be kept"):
        enough_runs(made(2, 1.0), EXAMPLES + 1)
