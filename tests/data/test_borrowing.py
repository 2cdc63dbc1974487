"""Test examples for data without a test split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datacurate.data import load
from datacurate.data.borrowing import borrowed_rows
from datacurate.errors import DataError
from datacurate.fingerprints import content_hashes
from tests.data.data_files import noise

SIZES = (40, 11, 2, 25)
LABELS = np.repeat(np.arange(4), SIZES)
HASHES = np.random.default_rng(0).integers(0, 2**64, len(LABELS), dtype=np.uint64)


def test_a_tenth_of_each_class_and_at_least_one() -> None:
    rows = borrowed_rows(HASHES, LABELS)
    assert np.bincount(LABELS[rows]).tolist() == [4, 1, 1, 2]
    assert np.array_equal(rows, np.unique(rows))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(len(LABELS))))
def test_the_choice_does_not_depend_on_the_order(order: list[int]) -> None:
    there = np.array(order)
    rows = borrowed_rows(HASHES[there], LABELS[there])
    assert np.array_equal(np.sort(there[rows]), borrowed_rows(HASHES, LABELS))


def test_copies_stay_together() -> None:
    hashes = HASHES.copy()
    first = borrowed_rows(HASHES, LABELS)[0]
    twin = next(row for row in range(40) if row not in borrowed_rows(HASHES, LABELS))
    hashes[twin] = hashes[first]
    rows = borrowed_rows(hashes, LABELS)
    assert (first in rows) == (twin in rows)
    assert first in rows


def test_a_class_without_remaining_examples_gives_none() -> None:
    labels = np.array([0, 1, 1, 2, 2])
    hashes = np.array([1, 2, 3, 4, 4], dtype=np.uint64)
    assert labels[borrowed_rows(hashes, labels)].tolist() == [1]
    assert borrowed_rows(hashes[:1], labels[:1]).tolist() == []


def test_borrowed_rows_are_recorded_and_never_trained_on(tmp_path: Path) -> None:
    images, labels = noise(60, 8), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    data = load(str(tmp_path))
    assert np.array_equal(data.borrowed, borrowed_rows(content_hashes(images), labels))
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    assert np.array_equal(data.test.images, images[data.borrowed])
    assert np.array_equal(data.test.labels, labels[data.borrowed])
    assert len(data.train) == 60  # rows keep their numbers
    assert not np.isin(data.trainable, data.borrowed).any()
    assert len(data.trainable) + len(data.borrowed) == 60
    assert data.test.identity.split == "test"
    assert data.test.source["borrowed"] == "6 of the training examples"


def test_nothing_to_borrow(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=noise(3, 8), labels=np.arange(3))
    with pytest.raises(DataError, match="no test split, and too few"):
        load(str(tmp_path))
