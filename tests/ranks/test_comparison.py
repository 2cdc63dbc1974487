from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from datacurate.errors import DataError, UsageError
from datacurate.fingerprints import label_fingerprint
from datacurate.ranks.comparison import compare, compare_by_class, mean_comparison
from datacurate.ranks.ranking import Ranking, rank

pairs = arrays(np.int64, (2, 25), elements=st.integers(0, 9))
FINGERPRINT = label_fingerprint(np.zeros(2, dtype=np.int64))


def ranked(score: npt.NDArray[np.int64], profiled: npt.NDArray[np.bool_] | None = None) -> Ranking:
    return rank(score.astype(np.float64), FINGERPRINT, profiled=profiled)


@given(pairs, st.integers(1, 25))
def test_coefficients_against_scipy_and_sets(scores: npt.NDArray[np.int64], keep: int) -> None:
    first, second = ranked(scores[0]), ranked(scores[1])
    found = compare(first, second, keep, fraction=0.3)
    constant = any(len(set(score)) == 1 for score in scores)
    expected = stats.kendalltau(scores[0], scores[1]).statistic
    assert found.kendall == pytest.approx(expected, nan_ok=constant)
    kept = [set(order.order[:keep].tolist()) for order in (first, second)]
    assert found.overlap == pytest.approx(len(kept[0] & kept[1]) / keep)
    assert found.top == 8
    assert found.as_dict()["spearman"] is None or not constant


def test_of_a_class_only_its_examples_count() -> None:
    labels = np.repeat([0, 3], 40)
    first = np.arange(80)
    second = np.concatenate([np.arange(40), -np.arange(40)])
    found = compare_by_class(ranked(first), ranked(second), labels, 0.5)
    assert sorted(found) == [0, 3]
    assert (found[0].kendall, found[0].overlap, found[0].kept) == (1, 1, 20)
    assert found[3].kendall == pytest.approx(-1)
    assert found[3].overlap == 0
    means = mean_comparison(list(found.values()))
    assert means["spearman"] == pytest.approx(0)
    assert means["overlap"] == 0.5


def test_what_cannot_be_compared() -> None:
    score = np.arange(10)
    half = ranked(score, score < 5)
    with pytest.raises(UsageError, match="cannot be kept"):
        compare(half, ranked(score), 6)
    with pytest.raises(DataError, match="share no example"):
        compare(half, ranked(score, score >= 5), 1)
