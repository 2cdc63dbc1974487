"""The authors' bare array, and rank files whose labels are not known."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datacurate.data import ImageData
from datacurate.data.known import KNOWN
from datacurate.errors import DataError, DataMismatchError, FileError
from datacurate.fingerprints import label_fingerprint
from datacurate.formats import indexfile, rankfile
from datacurate.formats.checking import check
from datacurate.identity import Relation, relate, with_labels_of, without_labels
from datacurate.importers.upstream import read_upstream
from datacurate.pruning import prune
from tests.made_ranks import CLASSES, made_identity, made_rank_file

N = 60
FINGERPRINT = made_identity(N).label_fingerprint


def unlabelled(examples: int = N) -> Any:
    return without_labels("made", "train", examples, CLASSES, FINGERPRINT)


def written(path: Path, values: Any = None) -> Path:
    order = np.random.default_rng(0).permutation(N) / N
    np.save(path, order if values is None else values, allow_pickle=True)
    return path


def test_values_and_order_are_taken_over_and_survive_a_file(tmp_path: Path) -> None:
    ranks = read_upstream(written(tmp_path / "a.npy"), unlabelled(), {"url": "somewhere"})
    score = np.load(tmp_path / "a.npy")
    content = rankfile.write(tmp_path / "a.ranks.h5", ranks)
    back = rankfile.read(tmp_path / "a.ranks.h5")
    for file in (ranks, back):
        assert np.array_equal(file.columns["problematic_rank"], score)
        assert np.array_equal(file.columns["position"], np.rint(score * N).astype(int))
        assert not file.identity.labelled
        assert file.identity.label_fingerprint == FINGERPRINT
        assert len(file) == N
    with h5py.File(tmp_path / "a.ranks.h5") as stored:
        assert set(stored) == {"problematic_rank", "position"}
    assert all(item.ok for item in check(tmp_path / "a.ranks.h5"))
    # The same on every day and every machine, so that a registry can state the hash.
    again = read_upstream(tmp_path / "a.npy", unlabelled(), {"url": "somewhere"})
    assert rankfile.write(tmp_path / "b.ranks.h5", again) == content


def test_labels_at_hand_are_carried(tmp_path: Path) -> None:
    identity = made_identity(N)
    ranks = read_upstream(written(tmp_path / "a.npy"), identity, {})
    rankfile.write(tmp_path / "a.ranks.h5", ranks)
    back = rankfile.read(tmp_path / "a.ranks.h5").identity
    assert np.array_equal(back.labels, identity.labels)
    assert back.content_hash is not None


class Trap:
    def __reduce__(self) -> Any:
        return (print, ("a pickle ran",))


GOOD = np.arange(N) / N


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GOOD.astype(np.float32), "float32"),
        (GOOD.astype(">f8"), ">f8"),
        (np.arange(N), "int64"),
        (GOOD[:-1], r"\(59,\)"),
        (GOOD.reshape(2, -1), r"\(2, 30\)"),
        (np.where(GOOD == 0.5, np.nan, GOOD), "NaN in row 30"),
        (np.where(GOOD == 0.5, 0.25, GOOD), "each once"),
        (GOOD + 1 / N, "each once"),
        (np.nextafter(GOOD, 1), "each once"),
        (np.array([Trap()] * N, dtype=object), "Python objects"),
    ],
)
def test_another_array_is_refused(
    tmp_path: Path, values: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileError) as caught:
        read_upstream(written(tmp_path / "a.npy", values), unlabelled(), {})
    assert re.search(message, str(caught.value))
    assert "a pickle ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b[:40], lambda b: b"", lambda b: b"x" * 900]
)
def test_damage_is_refused(tmp_path: Path, change: Any) -> None:
    path = written(tmp_path / "a.npy")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FileError, match="does not hold the ranks"):
        read_upstream(path, unlabelled(), {})
    with pytest.raises(FileError, match="there is no file"):
        read_upstream(tmp_path / "absent.npy", unlabelled(), {})
    np.savez(tmp_path / "a.npz", GOOD)
    with pytest.raises(FileError, match="an archive"):
        read_upstream(tmp_path / "a.npz", unlabelled(), {})


def test_pruning_without_labels_says_what_it_cannot_say(tmp_path: Path) -> None:
    ranks = read_upstream(written(tmp_path / "a.npy"), unlabelled(), {})
    index = prune(ranks, 48, name="a.ranks.h5")
    assert index.kept.tolist() == np.flatnonzero(ranks.columns["position"] < 48).tolist()
    assert index.classes == ({"name": "(classes unknown)", "before": 60, "after": 48},)
    assert any("no labels" in line for line in index.warnings)
    indexfile.write(tmp_path / "idx.npy", index)
    back = indexfile.read(tmp_path / "idx.npy")
    # What was chosen without labels is applied by their fingerprint alone.
    assert indexfile.check_against(back, made_identity(N)).relation is Relation.LABELS_ONLY
    other = dataclasses.replace(made_identity(N), label_fingerprint="0" * 64)
    assert indexfile.check_against(back, other).relation is Relation.FOREIGN
    for options in ({"balanced": True}, {"floor": "3"}):
        with pytest.raises(DataError, match="do not know the class") as caught:
            prune(ranks, 48, name="a.ranks.h5", **options)
        assert "--data DIR" in (caught.value.hint or "")


def test_labels_are_attached_only_where_they_fit() -> None:
    data = made_identity(N)
    assert relate(unlabelled(), data).relation is Relation.LABELS_ONLY
    assert np.array_equal(with_labels_of(unlabelled(), data).labels, data.labels)
    labels = data.labels[::-1].copy()
    other = dataclasses.replace(data, labels=labels, label_fingerprint=label_fingerprint(labels))
    assert relate(unlabelled(), other).relation is Relation.FOREIGN
    assert relate(unlabelled(N - 1), data).relation is Relation.FOREIGN
    with pytest.raises(DataMismatchError, match="other labels than those of this data"):
        with_labels_of(unlabelled(), other)


def test_hashes_without_labels_are_no_rank_file(tmp_path: Path) -> None:
    made = made_rank_file()
    identity = dataclasses.replace(made.identity, labels=np.full(60, -1))
    with pytest.raises(DataError, match="label is missing"):
        rankfile.write(tmp_path / "a.ranks.h5", dataclasses.replace(made, identity=identity))


def test_the_published_file(upstream_npy: Path, tmp_path: Path) -> None:
    known = KNOWN["cifar10"]
    identity = without_labels(
        "cifar10", "train", 50_000, known.class_names, known.official["train"].labels
    )
    ranks = read_upstream(upstream_npy, identity, {})
    assert ranks.columns["position"][np.argmax(np.load(upstream_npy))] == 49_999
    rankfile.write(tmp_path / "up.ranks.h5", ranks)
    assert rankfile.read(tmp_path / "up.ranks.h5").identity.classes == 10


@pytest.mark.real_data
def test_the_published_file_with_the_official_labels(
    upstream_npy: Path, cifar10_train: ImageData
) -> None:
    """The appendix of the paper: cats are overrepresented among the problematic."""
    ranks = read_upstream(upstream_npy, cifar10_train.identity, {})
    index = prune(ranks, 40_000)
    rows = {row["name"]: row["after"] for row in index.classes}
    assert min(rows, key=lambda name: rows[name]) == "cat"
    assert round(1 - rows["cat"] / 5000, 2) == 0.45  # as the description of the tool states
