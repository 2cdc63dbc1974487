from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from datacurate.errors import UsageError
from datacurate.fingerprints import label_fingerprint
from datacurate.ranks.ranking import Ranking, rank
from datacurate.selection.amounts import parse_amount
from datacurate.selection.per_class import keep_per_class
from datacurate.selection.samplers import sampler_named
from datacurate.selection.select import select

I64 = npt.NDArray[np.int64]


@st.composite
def ranked_labels(draw: st.DrawFn) -> tuple[Ranking, I64]:
    """A ranking with many ties of up to 40 examples of up to 4 classes, some not profiled."""
    size = draw(st.integers(2, 40))
    chance = np.random.default_rng(draw(st.integers(0, 1000)))
    labels = chance.integers(0, draw(st.integers(1, 4)), size)
    score = chance.integers(0, 5, size) / 5
    probability = chance.integers(0, 3, size) / 3 if draw(st.booleans()) else None
    profiled = chance.random(size) < draw(st.sampled_from([0.7, 1.0]))
    assume(profiled.any())
    fingerprint = label_fingerprint(labels)
    return rank(score, fingerprint, probability=probability, profiled=profiled), labels


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("40000", 40_000),
        ("40_000", 40_000),
        ("1", 1),
        ("1.0", 50_000),
        ("100%", 50_000),
        ("0.8", 40_000),
        (".8", 40_000),
        ("80%", 40_000),
        ("80 %", 40_000),
        (" 12.5% ", 6_250),
        ("0.00003", 2),
        ("50000", 50_000),
    ],
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_amount(text, 50_000) == amount


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "0%", "50001", "101%", "1.1", "0.000001", "9" * 30],
)
def test_amounts_out_of_range(text: str) -> None:
    with pytest.raises(UsageError, match=f"--keep {text} is out of range"):
        parse_amount(text, 50_000)


@pytest.mark.parametrize(
    "text", ["", "-1", "-0.5", "many", "8e3", "0x10", "nan", "1/2", "٣", "0.8.1", "%"]
)
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount"):
        parse_amount(text, 50_000)


@given(ranked_labels(), st.data())
def test_friendly_and_problematic_keep_the_ends_of_the_order(
    made: tuple[Ranking, I64], data: st.DataObject
) -> None:
    ranking, labels = made
    keep = data.draw(st.integers(1, len(ranking.order)))
    friendly = select(ranking, keep, labels).kept
    assert friendly.dtype == np.int64
    assert friendly.tolist() == sorted(ranking.order[:keep].tolist())
    problematic = select(ranking, keep, labels, strategy="problematic").kept
    assert problematic.tolist() == sorted(ranking.order[-keep:].tolist())


@given(ranked_labels(), st.data(), st.sampled_from(["friendly", "problematic", "random"]))
def test_balanced_keeps_equally_many_and_the_best_of_each(
    made: tuple[Ranking, I64], data: st.DataObject, strategy: Any
) -> None:
    ranking, labels = made
    order = sampler_named(strategy).load()(ranking, 0)
    sizes = Counter(labels[order].tolist())
    keep = data.draw(st.integers(1, len(sizes) * min(sizes.values())))
    kept = select(ranking, keep, labels, strategy=strategy, balanced=True).kept
    counts = Counter(labels[kept].tolist())
    assert len(kept) == keep
    assert max(counts.values()) - min(counts.get(label, 0) for label in sizes) <= 1
    for label in sizes:
        own = [row for row in order.tolist() if labels[row] == label]
        assert set(own[: counts[label]]) == {row for row in kept.tolist() if labels[row] == label}


@given(ranked_labels(), st.data())
def test_a_floor_changes_as_little_as_it_can(
    made: tuple[Ranking, I64], data: st.DataObject
) -> None:
    ranking, labels = made
    order = ranking.order
    sizes = Counter(labels[order].tolist())
    floor = data.draw(st.integers(1, min(sizes.values())))
    keep = data.draw(st.integers(floor * len(sizes), len(order)))
    kept = select(ranking, keep, labels, floor=str(floor)).kept.tolist()
    # By hand: reserve each class's first, then fill up in order.
    places: Counter[int] = Counter()
    reserved = []
    for row in order.tolist():
        places[labels[row]] += 1
        if places[labels[row]] <= floor:
            reserved.append(row)
    rest = [row for row in order.tolist() if row not in reserved]
    assert kept == sorted(reserved + rest[: keep - len(reserved)])


@given(ranked_labels(), st.data(), st.sampled_from(["plain", "balanced"]))
def test_ties_at_the_cut_are_those_that_could_have_been_exchanged(
    made: tuple[Ranking, I64], data: st.DataObject, how: str
) -> None:
    ranking, labels = made
    balanced = how == "balanced"
    order = ranking.order.tolist()
    sizes = Counter(labels[order].tolist())
    most = len(sizes) * min(sizes.values()) if balanced else len(order)
    keep = data.draw(st.integers(1, most))
    chosen = select(ranking, keep, labels, balanced=balanced)
    kept = chosen.kept.tolist()
    dropped = [row for row in order if row not in kept]

    def exchangeable(key: Any) -> int:
        return sum(
            any(key(a) == key(b) and (not balanced or labels[a] == labels[b]) for b in dropped)
            for a in kept
        )

    probability = ranking.probability
    by_score = exchangeable(lambda row: ranking.score[row])
    by_hash = exchangeable(
        lambda row: (ranking.score[row], None if probability is None else probability[row])
    )
    assert chosen.tied_by_hash == by_hash
    assert chosen.tied_by_probability == by_score - by_hash


@given(ranked_labels(), st.integers(0, 5))
def test_random_selections_are_nested_and_never_touch_what_was_not_profiled(
    made: tuple[Ranking, I64], seed: int
) -> None:
    ranking, labels = made
    number = len(ranking.order)
    sizes = sorted({1, number // 2 or 1, number})
    kept = [
        set(select(ranking, k, labels, strategy="random", seed=seed).kept.tolist()) for k in sizes
    ]
    assert all(small <= large for small, large in itertools.pairwise(kept))
    assert kept[-1] == set(ranking.order.tolist())


def test_random_is_the_same_everywhere_and_unlike_the_ranks() -> None:
    score = np.arange(1000.0)
    labels = np.zeros(1000, dtype=np.int64)
    ranking = rank(score, label_fingerprint(labels))
    chosen = select(ranking, 5, labels, strategy="random").kept
    assert chosen.tolist() == [113, 167, 262, 319, 874]
    zero = sampler_named("random").load()(ranking, 0)
    one = sampler_named("random").load()(ranking, 1)
    assert abs(stats.spearmanr(zero, one).statistic) < 0.1
    assert abs(stats.spearmanr(zero, np.arange(1000)).statistic) < 0.1


def test_balanced_uses_every_class_s_own_size() -> None:
    # A peer's mistake: the last class's size for every class.
    labels = np.repeat([0, 1, 2], [50, 30, 10])
    ranking = rank(np.arange(90.0), label_fingerprint(labels))
    kept = select(ranking, 30, labels, balanced=True).kept
    assert np.bincount(labels[kept]).tolist() == [10, 10, 10]
    # The remainder goes to the classes whose next example is the most friendly.
    kept = select(ranking, 29, labels, balanced=True).kept
    assert np.bincount(labels[kept]).tolist() == [10, 10, 9]
    with pytest.raises(UsageError, match="equally many") as caught:
        select(ranking, 33, labels, balanced=True, class_names=("ant", "bee", "cat"))
    assert "10 of cat" in str(caught.value)
    assert "at most 30" in str(caught.value)


def test_matching_the_classes_of_another_selection() -> None:
    labels = np.arange(100) % 4
    ranking = rank(np.arange(100.0) // 10, label_fingerprint(labels))
    kept = select(ranking, 37, labels).kept
    counts = np.bincount(labels[kept], minlength=4)
    matched = keep_per_class(sampler_named("random").load()(ranking, 3), labels, counts)
    assert np.array_equal(np.bincount(labels[matched], minlength=4), counts)
    assert not np.array_equal(matched, kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0}, "cannot be kept"),
        ({"keep": 13}, "cannot be kept"),
        ({"keep": 6, "balanced": True, "floor": "1"}, "has no floor"),
        ({"keep": 6, "floor": "5"}, "ant: --floor"),
        ({"keep": 6, "floor": "75%"}, "add up to more than is kept"),
        ({"keep": 6, "floor": "some"}, "ant: --floor"),
        ({"keep": 6, "strategy": "best"}, "no strategy called"),
    ],
)
def test_what_cannot_be_selected(arguments: dict[str, Any], message: str) -> None:
    labels = np.arange(12) % 3
    ranking = rank(np.arange(12.0), label_fingerprint(labels))
    with pytest.raises(UsageError, match=message):
        select(ranking, labels=labels, class_names=("ant", "bee", "cat"), **arguments)


def test_pruning_by_the_published_ranks_drops_nearly_half_of_the_cats(
    upstream_ranks: npt.NDArray[np.float64], cifar10_train: Any
) -> None:
    labels = cifar10_train.labels
    ranking = rank(upstream_ranks, label_fingerprint(labels))
    kept = select(ranking, 40_000, labels).kept
    assert np.array_equal(kept, np.flatnonzero(upstream_ranks < 0.8))
    dropped = 1 - np.bincount(labels[kept]) / 5000
    assert round(float(dropped[3]), 2) == 0.45
