"""The comparison of two data sets: the same images in the same order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacurate.data import ImageData
from datacurate.errors import DataMismatchError
from datacurate.identity import (
    Identity,
    Match,
    Relation,
    describe,
    identify,
    relate,
    require_match,
    without_images,
)

NAMES = ("a", "b", "c")


def made(seed: int = 0, count: int = 60) -> Identity:
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return identify("noise", "train", images, chance.integers(0, 3, count), NAMES)


def taken(identity: Identity, rows: np.ndarray) -> Identity:
    """The identity of some rows of a data set."""
    assert identity.content_hash is not None
    assert identity.perceptual_hash is not None
    return replace(
        identity,
        labels=identity.labels[rows],
        content_hash=identity.content_hash[rows],
        perceptual_hash=identity.perceptual_hash[rows],
    )


def shuffled_within_classes(labels: np.ndarray, share: float = 1.0) -> np.ndarray:
    """Rows after a shuffle of some examples within each class."""
    rows = np.arange(len(labels))
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        moved = mine[: round(share * len(mine))]
        rows[moved] = np.roll(moved, 1)
    return rows


def test_the_same_images_in_the_same_order() -> None:
    match = relate(made(), made())
    assert match.relation is Relation.SAME
    assert match.usable
    assert match.warning is None


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(30)))
def test_any_other_order_is_refused(order: list[int]) -> None:
    identity = made(count=30)
    match = relate(identity, taken(identity, np.array(order)))
    assert match.relation is (Relation.SAME if order == sorted(order) else Relation.REORDERED)
    assert match.usable == (order == sorted(order))


def test_changed_labels_on_the_same_images_are_reported() -> None:
    identity = made()
    labels = identity.labels.copy()
    labels[[3, 5]] = (labels[[3, 5]] + 1) % 3
    match = relate(identity, replace(identity, labels=labels))
    assert match.relation is Relation.RELABELLED
    assert match.usable
    assert "2 of 60" in (match.warning or "")


def test_without_images_labels_must_agree_with_a_warning() -> None:
    identity = made()
    bare = without_images("noise", "train", identity.labels, NAMES)
    match = relate(bare, identity)
    assert match.relation is Relation.LABELS_ONLY
    assert match.usable
    assert match.warning
    other = without_images("noise", "train", np.roll(identity.labels, 1), NAMES)
    assert relate(other, identity).relation is Relation.FOREIGN


def test_other_images_with_equal_labels_are_foreign() -> None:
    mine, other = made(0), made(1)
    match = relate(mine, replace(other, labels=mine.labels))
    assert match.relation is Relation.FOREIGN


def test_equal_bytes_of_another_shape_are_foreign() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 4, 3), dtype=np.uint8)
    labels = np.arange(20) % 3
    turned = images.reshape(20, 4, 8, 3)
    one, other = (identify("x", "train", i, labels, NAMES) for i in (images, turned))
    assert one.pixel_fingerprint == other.pixel_fingerprint
    assert relate(one, other).relation is Relation.FOREIGN


def test_require_match_describes_both_data_sets() -> None:
    identity = made()
    assert isinstance(require_match(identity, identity, "the ranks"), Match)
    with pytest.raises(DataMismatchError, match="another order") as caught:
        require_match(identity, taken(identity, np.arange(60)[::-1]), "the ranks in a file")
    assert caught.value.expected == describe(identity)
    assert "order" in (caught.value.hint or "")
    with pytest.raises(DataMismatchError, match="60 examples against 59"):
        require_match(identity, made(count=59), "the ranks")


@pytest.mark.real_data
def test_jpegs_relate_to_the_lossless_images_as_a_copy(
    cifar10_first5000: Identity, cifar10_jpegs: ImageData
) -> None:
    match = relate(cifar10_first5000, cifar10_jpegs.identity)
    assert match.relation is Relation.REENCODED
    assert match.warning
    # The measurements behind the thresholds.
    assert "differ in 0.3 of 64 bits in place, 31." in match.detail
    assert "0 of 5,000 look like other pictures" in match.detail


@pytest.mark.real_data
@pytest.mark.parametrize("share", [1.0, 0.3, 0.05, 0.01])
def test_jpegs_shuffled_within_classes_are_foreign(
    cifar10_first5000: Identity, cifar10_jpegs: ImageData, share: float
) -> None:
    moved = taken(cifar10_jpegs.identity, shuffled_within_classes(cifar10_jpegs.labels, share))
    assert np.array_equal(moved.labels, cifar10_first5000.labels)
    assert relate(cifar10_first5000, moved).relation is Relation.FOREIGN


@pytest.mark.real_data
def test_jpegs_shifted_by_a_row_are_foreign(
    cifar10_first5000: Identity, cifar10_jpegs: ImageData
) -> None:
    moved = taken(cifar10_jpegs.identity, np.roll(np.arange(5000), 1))
    assert relate(cifar10_first5000, moved).relation is Relation.FOREIGN
    # Also with the labels of their new rows.
    relabelled = replace(moved, labels=cifar10_first5000.labels)
    assert relate(cifar10_first5000, relabelled).relation is Relation.FOREIGN


@pytest.mark.real_data
def test_lossless_images_shuffled_within_classes_are_reordered(
    cifar10_first5000: Identity,
) -> None:
    rows = shuffled_within_classes(cifar10_first5000.labels)
    match = relate(cifar10_first5000, taken(cifar10_first5000, rows))
    assert match.relation is Relation.REORDERED
    assert not match.usable


@pytest.mark.real_data
def test_a_part_does_not_match_the_whole(cifar10_train: ImageData) -> None:
    whole = cifar10_train.identity
    match = relate(whole, taken(whole, np.arange(10_000)))
    assert match.relation is Relation.FOREIGN
    assert match.detail == "50,000 examples against 10,000"
