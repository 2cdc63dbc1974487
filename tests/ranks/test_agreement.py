from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from datacurate.errors import DataError
from datacurate.fingerprints import label_fingerprint
from datacurate.ranks import agreement
from datacurate.ranks.ranking import Ranking, rank

pairs = arrays(np.int64, (2, 25), elements=st.integers(0, 9))
FINGERPRINT = label_fingerprint(np.zeros(2, dtype=np.int64))


def ranked(score: npt.NDArray[np.int64], profiled: npt.NDArray[np.bool_] | None = None) -> Ranking:
    return rank(score.astype(np.float64), FINGERPRINT, profiled=profiled)


@given(pairs)
def test_spearman_is_scipy_s(scores: npt.NDArray[np.int64]) -> None:
    first, second = scores
    ours = agreement.spearman(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


@given(pairs, st.sampled_from([0.01, 0.2, 0.5, 1.0]))
def test_iou_of_the_most_problematic(scores: npt.NDArray[np.int64], fraction: float) -> None:
    first, second = ranked(scores[0]), ranked(scores[1])
    found = agreement.agreement(first, second, fraction)
    top = max(round(fraction * 25), 1)
    a, b = set(first.order[-top:].tolist()), set(second.order[-top:].tolist())
    assert found.top == top
    assert found.iou == len(a & b) / len(a | b)
    assert agreement.agreement(second, first, fraction) == found or np.isnan(found.spearman)


def test_a_ranking_agrees_with_itself_and_not_with_its_reverse() -> None:
    score = np.arange(100)
    same = agreement.agreement(ranked(score), ranked(score))
    assert same == agreement.Agreement(examples=100, spearman=1.0, top=20, iou=1.0)
    reverse = agreement.agreement(ranked(score), ranked(-score))
    assert reverse.spearman == pytest.approx(-1)
    assert reverse.iou == 0


def test_only_examples_that_both_rank_are_compared() -> None:
    score = np.arange(10)
    first = ranked(score, np.arange(10) < 8)
    second = ranked(score, np.arange(10) >= 2)
    assert agreement.agreement(first, second).examples == 6
    with pytest.raises(DataError, match="share no example"):
        agreement.agreement(ranked(score, score < 5), ranked(score, score >= 5))
    with pytest.raises(DataError, match="different data"):
        agreement.agreement(first, ranked(np.arange(9)))


def test_agreement_by_class_looks_at_each_class_alone() -> None:
    labels = np.repeat([0, 2], 50)
    first = np.arange(100)
    second = np.concatenate([np.arange(50), -np.arange(50)])
    found = agreement.agreement_by_class(ranked(first), ranked(second), labels)
    assert sorted(found) == [0, 2]
    assert found[0] == agreement.Agreement(50, 1.0, 10, 1.0)
    assert found[2].spearman == pytest.approx(-1)
    assert found[2].iou == 0


def test_overlap_of_selections() -> None:
    first, second = np.array([0, 1, 2, 3]), np.array([2, 3, 4, 5])
    assert agreement.overlap(first, second) == 0.5
    assert agreement.overlap(first, first) == 1
    assert agreement.overlap(first[:0], second) == 1
