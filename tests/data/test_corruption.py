"""Label errors added on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from datacurate.data import flip_labels, load
from datacurate.errors import UsageError
from datacurate.fingerprints import label_fingerprint
from datacurate.identity import Relation, relate
from tests.data.data_files import noise


def test_exactly_the_planted_rows_are_wrong() -> None:
    data = load("digits")
    flipped, rows = flip_labels(data, 0.1, seed=3)
    assert len(rows) == 144
    assert np.array_equal(np.flatnonzero(flipped.train.labels != data.train.labels), rows)
    assert flipped.train.labels.min() >= 0
    assert flipped.train.labels.max() <= 9
    assert flipped.test is data.test
    assert flipped.train.images is data.train.images
    assert flipped.train.identity.label_fingerprint == label_fingerprint(flipped.train.labels)
    assert flipped.train.identity.labels is flipped.train.labels
    assert flipped.train.source["flipped_labels"] == "144, seed 3"
    assert relate(data.train.identity, flipped.train.identity).relation is Relation.RELABELLED


def test_the_seed_determines_the_labels() -> None:
    data = load("digits")
    first, again, other = (flip_labels(data, 0.2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0].train.labels, again[0].train.labels)
    assert not np.array_equal(first[1], other[1])


def test_the_other_classes_are_equally_likely() -> None:
    data = load("digits")
    flipped, rows = flip_labels(data, 1.0, seed=0)
    assert len(rows) == 1437
    steps = (flipped.train.labels - data.train.labels) % 10
    counts = np.bincount(steps, minlength=10)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 0.01


def test_borrowed_examples_keep_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=noise(60, 8), labels=np.arange(60) % 3)
    data = load(str(tmp_path))
    flipped, rows = flip_labels(data, 1.0, seed=0)
    assert np.array_equal(rows, data.trainable)
    assert np.array_equal(flipped.train.labels[data.borrowed], data.train.labels[data.borrowed])


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_an_invalid_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction of labels to flip is out of range"):
        flip_labels(load("digits"), fraction, 0)


def test_none() -> None:
    flipped, rows = flip_labels(load("digits"), 0, 0)
    assert rows.size == 0
    assert rows.dtype == np.int64
    assert np.array_equal(flipped.train.labels, load("digits").train.labels)
