"""The comparison of data with the official data set of its name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datacurate.data import ImageData, OfficialStatus, load_train, official_status
from datacurate.data.canonical import restore_official_order
from datacurate.data.known import KNOWN
from datacurate.data.layouts import Split


def test_the_table() -> None:
    for name, known in KNOWN.items():
        assert known.name == name
        assert len(known.class_names) in (0, known.classes)
        assert len(set(known.class_names)) == len(known.class_names)
        assert (known.archive is None) == (name == "digits")
        assert set(known.official) <= set(known.sizes) == {"train", "test"}
    # The official files number classes by the alphabet, in both.
    assert list(KNOWN["cifar10"].class_names) == sorted(KNOWN["cifar10"].class_names)
    assert list(KNOWN["cifar100"].class_names) == sorted(KNOWN["cifar100"].class_names)


def test_each_way_to_differ() -> None:
    identity = load_train("digits").identity
    status, sentence = official_status(identity)
    assert status is OfficialStatus.OFFICIAL
    assert sentence == "the official scikit-learn digits training set, in official order"
    status, sentence = official_status(replace(identity, pixel_fingerprint="0"))
    assert status is OfficialStatus.DIFFERENT
    assert "other pixels" in sentence
    status, sentence = official_status(replace(identity, label_fingerprint="0"))
    assert status is OfficialStatus.DIFFERENT
    assert "other labels" in sentence
    status, sentence = official_status(replace(identity, labels=identity.labels[:5]))
    assert status is OfficialStatus.DIFFERENT
    assert "5 examples instead of 1,437" in sentence
    status, sentence = official_status(replace(identity, pixel_fingerprint=""))
    assert status is OfficialStatus.UNKNOWN
    assert "without images" in sentence
    assert official_status(replace(identity, split="extra"))[0] is OfficialStatus.UNKNOWN
    assert official_status(replace(identity, name="mine"))[0] is OfficialStatus.UNKNOWN
    assert (
        official_status(replace(identity, name="cifar10", labels=np.zeros(50_000, int)))[0]
        is OfficialStatus.DIFFERENT
    )


@pytest.mark.real_data
def test_permuted_batches_are_restored(cifar10_train: ImageData) -> None:
    known = KNOWN["cifar10"]
    whole = Split(cifar10_train.images, cifar10_train.labels)
    assert restore_official_order(whole, known) is whole
    # The order in which the official archive stores them.
    rows = np.arange(50_000).reshape(5, -1)[[3, 2, 1, 4, 0]].ravel()
    mixed = Split(whole.images[rows], whole.labels[rows])
    restored = restore_official_order(mixed, known)
    assert np.array_equal(restored.labels, whole.labels)
    assert np.array_equal(restored.images, whole.images)


@pytest.mark.real_data
def test_any_other_order_is_unchanged(cifar10_train: ImageData) -> None:
    known = KNOWN["cifar10"]
    shifted = np.roll(np.arange(50_000), 1)
    moved = Split(cifar10_train.images[shifted], cifar10_train.labels[shifted])
    assert restore_official_order(moved, known) is moved
    part = Split(cifar10_train.images[:100], cifar10_train.labels[:100])
    assert restore_official_order(part, known) is part
