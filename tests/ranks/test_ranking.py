from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from datacurate.errors import DataError, UsageError
from datacurate.fingerprints import label_fingerprint, mix64
from datacurate.ranks import ranking

FINGERPRINT = label_fingerprint(np.zeros(3, dtype=np.int64))
few_values = st.sampled_from([0.0, 0.25, 0.5, 1.0])
finite = st.floats(allow_nan=False, width=32)
scores = arrays(np.float32, st.integers(1, 60), elements=st.one_of(few_values, finite))
runs = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=few_values)


@given(scores)
def test_rank_is_equation_4(score: npt.NDArray[np.float32]) -> None:
    rank = ranking.problematic_rank(score)
    assert rank.dtype == np.int64
    assert rank.tolist() == [int((score < value).sum()) for value in score]
    assert np.array_equal(rank, stats.rankdata(score, method="min") - 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("values", [1, 161, 50_000, 10**9])
@pytest.mark.parametrize("spread", [1, 1e-6, 1e30])
def test_rank_of_large_arrays_whichever_way_it_is_computed(
    dtype: Any, values: int, spread: float
) -> None:
    chance = np.random.default_rng(values)
    score = chance.integers(-values, values, 100_000)
    if dtype is not np.int64:
        score = (score / values * spread).astype(dtype)
    score[::7] = score[3]
    expected = stats.rankdata(score, method="min") - 1
    assert np.array_equal(ranking.problematic_rank(score), expected)


def test_rank_of_large_arrays_of_extreme_values() -> None:
    score = np.tile(np.array([-np.inf, -3e38, 0.0, 1e-45, 3e38, np.inf], np.float32), 20_000)
    for some in (score, score[np.isfinite(score)], score[::3], np.abs(score[:1]).repeat(70_000)):
        expected = stats.rankdata(some, method="min") - 1
        assert np.array_equal(ranking.problematic_rank(some), expected)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_rank_of_nothing_and_of_one(dtype: Any) -> None:
    assert ranking.problematic_rank(np.empty(0, dtype)).shape == (0,)
    assert ranking.problematic_rank(np.ones(1, dtype)).tolist() == [0]


@given(runs)
def test_mean_rank_averages_the_runs_ranks(instability: npt.NDArray[np.float32]) -> None:
    examples, number = instability.shape
    each = [stats.rankdata(column, method="min") - 1 for column in instability.T]
    expected = np.sum(each, axis=0, dtype=np.int64) / (number * examples)
    assert np.array_equal(ranking.aggregate(instability), expected)
    assert ranking.aggregate(instability).max() < 1


@given(arrays(np.int64, (9, 3), elements=st.integers(0, 7)))
def test_pooled_ranks_the_counts_of_all_runs(wrong: npt.NDArray[np.int64]) -> None:
    epochs = (7, 10, 160)
    instability = (wrong / np.array(epochs)).astype(np.float32)
    expected = (stats.rankdata(wrong.sum(axis=1), method="min") - 1) / 9
    assert np.array_equal(ranking.aggregate(instability, "pooled", epochs), expected)


def test_the_two_aggregations_differ_where_the_paper_says() -> None:
    # Ten runs of 160 epochs: pooled counts have at most 1,601 values, averaged ranks far more.
    chance = np.random.default_rng(0)
    wrong = chance.binomial(160, chance.beta(0.6, 0.6, (5000, 1)), (5000, 10))
    instability = (wrong / 160).astype(np.float32)
    pooled = ranking.aggregate(instability, "pooled", [160] * 10)
    assert len(np.unique(pooled)) <= 1601
    assert len(np.unique(ranking.aggregate(instability))) > 2 * len(np.unique(pooled))


def test_never_learned_ties_behind_the_last_learned() -> None:
    first = np.array([[0, 5], [9, 0], [-1, -1], [3, -1], [-1, 5]], dtype=np.int32)
    # Ranks in run 0: 0 2 3 1 3; in run 1: 1 0 3 3 1.
    assert ranking.learning_order(first).tolist() == [0.1, 0.2, 0.6, 0.4, 0.4]


@given(scores, st.integers(0, 3))
def test_position_is_a_permutation_in_the_order_of_the_rule(
    score: npt.NDArray[np.float32], seed: int
) -> None:
    probability = np.random.default_rng(seed).integers(0, 3, len(score)) / 2
    result = ranking.rank(score, FINGERPRINT, probability=probability)
    hashes = mix64(np.arange(len(score), dtype=np.uint64), int(FINGERPRINT[:16], 16)).tolist()
    expected = sorted(
        range(len(score)), key=lambda row: (float(score[row]), -probability[row], hashes[row])
    )
    assert result.order.tolist() == expected
    assert sorted(result.position.tolist()) == list(range(len(score)))
    ranking.check_ranking(result)


@given(scores)
def test_ties_count_who_was_told_apart_by_what(score: npt.NDArray[np.float32]) -> None:
    probability = (np.arange(len(score)) % 3).astype(np.float64)
    ties = ranking.count_ties(ranking.rank(score, FINGERPRINT, probability=probability))
    values = score.astype(np.float64).tolist()
    pairs = list(zip(values, probability.tolist(), strict=True))
    assert ties.examples == len(score)
    assert ties.distinct == len(set(values))
    assert ties.by_hash == sum(1 for pair in pairs if pairs.count(pair) > 1)
    shared = sum(1 for value in values if values.count(value) > 1)
    assert ties.by_probability == shared - ties.by_hash


def test_without_probability_the_hash_breaks_all_ties() -> None:
    ties = ranking.count_ties(ranking.rank(np.array([1.0, 0.0, 1.0, 1.0]), FINGERPRINT))
    assert ties == ranking.Ties(examples=4, distinct=2, by_probability=0, by_hash=3)


def test_the_hash_does_not_follow_the_file_order_and_depends_on_the_labels() -> None:
    flat = np.zeros(1000)
    first = ranking.rank(flat, FINGERPRINT).position
    other = ranking.rank(flat, label_fingerprint(np.ones(3, dtype=np.int64))).position
    assert abs(stats.spearmanr(first, np.arange(1000)).statistic) < 0.1
    assert abs(stats.spearmanr(first, other).statistic) < 0.1
    # Pinned: the same on every machine, in every version of the format.
    assert ranking.rank(np.zeros(8), FINGERPRINT).order.tolist() == [0, 6, 1, 4, 2, 7, 5, 3]


def test_examples_that_were_not_profiled_are_not_friendly() -> None:
    score = np.array([0.5, np.nan, 0.25, np.nan])
    result = ranking.rank(score, FINGERPRINT, profiled=np.array([True, False, True, False]))
    assert result.position.tolist() == [1, -1, 0, -1]
    assert result.order.tolist() == [2, 0]
    assert np.isnan(result.score[[1, 3]]).all()


@pytest.mark.parametrize("place", [0, 2])
def test_nan_is_refused(place: int) -> None:
    score = np.zeros(3)
    score[place] = np.nan
    with pytest.raises(DataError, match="not a number") as caught:
        ranking.rank(score, FINGERPRINT)
    assert f"row {place}" in str(caught.value)
    with pytest.raises(DataError, match="not a number"):
        ranking.aggregate(score[:, None])
    with pytest.raises(DataError, match="not a number"):
        ranking.aggregate(score[:, None], "pooled", [3])
    with pytest.raises(DataError, match="a probability"):
        ranking.rank(np.zeros(3), FINGERPRINT, probability=score)


def test_aggregation_needs_runs_and_epochs() -> None:
    with pytest.raises(UsageError, match="no finished run"):
        ranking.aggregate(np.empty((3, 0), np.float32))
    with pytest.raises(UsageError, match="number of epochs"):
        ranking.aggregate(np.zeros((3, 2), np.float32), "pooled", [1])
    with pytest.raises(UsageError, match="no aggregation called"):
        ranking.aggregate(np.zeros((3, 2), np.float32), "median")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "position", "message"),
    [
        ([0.0, 1.0], [0, 0], "not an order"),
        ([0.0, 1.0], [0, 2], "not an order"),
        ([0.0, 1.0], [-2, 0], "not an order"),
        ([0.0, 1.0], [1, 0], "do not follow"),
        ([np.nan, 1.0], [0, 1], "not a number"),
    ],
)
def test_positions_that_are_no_order_are_refused(
    score: list[float], position: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ranking.check_ranking(ranking.Ranking(np.array(score), np.array(position)))


def test_mean_over_runs_is_exact_and_keeps_the_missing() -> None:
    values = np.array([[0.5, 0.25], [np.nan, np.nan]], dtype=np.float32)
    mean = ranking.mean_over_runs(values)
    assert mean.dtype == np.float64
    assert mean[0] == 0.375
    assert np.isnan(mean[1])


def test_the_published_ranks_are_kept_exactly(upstream_ranks: npt.NDArray[np.float64]) -> None:
    # A permutation of 0 to 49,999 over 50,000, without ties.
    result = ranking.rank(upstream_ranks, FINGERPRINT)
    assert np.array_equal(result.position, np.rint(upstream_ranks * 50_000))
    assert np.array_equal(ranking.problematic_rank(upstream_ranks), result.position)
    assert ranking.count_ties(result) == ranking.Ties(50_000, 50_000, 0, 0)
