"""scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from datacurate.data import load, load_train
from datacurate.data.known import OfficialStatus, official_status
from datacurate.errors import DataError


def test_digits_are_in_the_order_of_scikit_learn() -> None:
    data = load("digits")
    bunch = load_digits()
    images = np.concatenate([data.train.images, data.test.images])
    # Sixteenths of 255 back to sixteenths: the scaling loses nothing.
    assert np.array_equal(np.rint(images[..., 0] / 255 * 16), bunch.images)
    assert np.array_equal(np.concatenate([data.train.labels, data.test.labels]), bunch.target)
    assert images.shape == (1797, 8, 8, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert (len(data.train), len(data.test)) == (1437, 360)


def test_digits_are_not_flippable_and_have_a_test_split() -> None:
    data = load("digits")
    assert not data.flippable
    assert data.borrowed.size == 0
    assert data.train.identity.class_names == tuple("0123456789")
    assert data.train.identity.name == "digits"


def test_the_fingerprints_do_not_change() -> None:
    # Ranks of the digits rest on these; the copy that scikit-learn ships has never changed.
    data = load("digits")
    for split in (data.train, data.test):
        assert official_status(split.identity)[0] is OfficialStatus.OFFICIAL


def test_a_copy_can_be_given(tmp_path: Path) -> None:
    folder = tmp_path
    train = load_train("digits")
    np.savez(folder / "a.npz", images=train.images[::-1], labels=train.labels[::-1])
    data = load("digits", folder)
    assert np.array_equal(data.train.images, train.images[::-1])
    assert not data.flippable
    np.savez(folder / "a.npz", images=train.images[:, :4], labels=train.labels)
    with pytest.raises(DataError, match="does not hold scikit-learn digits"):
        load("digits", folder)
