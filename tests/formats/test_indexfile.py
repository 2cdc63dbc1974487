from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datacurate.data import ImageData
from datacurate.errors import (
    DataMismatchError,
    FileError,
    NewerFormatError,
    OutputError,
    OutputExistsError,
)
from datacurate.fingerprints import sha256_bytes
from datacurate.formats import digest, indexfile
from datacurate.formats.indexfile import IndexFile
from datacurate.identity import Identity, Relation, identify, relate
from datacurate.pruning import prune
from tests.made_ranks import CLASSES, made_identity, made_rank_file


def made_index(keep: int = 48, **arguments: Any) -> IndexFile:
    return prune(made_rank_file(), keep, name="made.ranks.h5", **arguments)


def pictures(examples: int = 60, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (examples, 16, 16, 3), dtype=np.uint8)


def identity_of(images: Any, labels: Any = None) -> Identity:
    labels = np.arange(len(images)) % len(CLASSES) if labels is None else labels
    return identify("made", "train", images, labels, CLASSES)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keep=st.integers(1, 60), form=st.sampled_from(["index", "mask"]))
def test_what_is_written_is_read(tmp_path: Path, keep: int, form: Any) -> None:
    path = tmp_path / "idx.npy"
    index = made_index(keep)
    indexfile.write(path, index, form, force=True)
    found = indexfile.read(path)
    assert found.kept.dtype == np.int64
    assert np.array_equal(found.kept, index.kept)
    assert digest.as_json(found.dataset) == digest.as_json(index.dataset)
    for name in ("selection", "source", "classes", "data_check", "warnings"):
        assert getattr(found, name) == getattr(index, name), name
    assert found.created.endswith("Z")


def test_numpy_alone_reads_the_rows_and_json_alone_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, made_index())
    rows = np.load(path)
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    said = json.loads((tmp_path / "idx.npy.json").read_text())
    assert said["means"] == "kept"
    assert said["kept"] == len(rows) == 48
    assert said["dataset"]["examples"] == 60
    assert said["source"]["file"] == "made.ranks.h5"
    assert said["selection"]["strategy"] == "friendly"
    assert [row["before"] for row in said["classes"]] == [20, 20, 20]
    assert sum(row["after"] for row in said["classes"]) == 48


def test_mask_and_csv(tmp_path: Path) -> None:
    index = made_index()
    indexfile.write(tmp_path / "mask.npy", index, "mask")
    mask = np.load(tmp_path / "mask.npy")
    assert mask.dtype == np.bool_
    assert np.flatnonzero(mask).tolist() == index.kept.tolist()
    indexfile.write(tmp_path / "idx.csv", index, "csv")
    table = np.loadtxt(tmp_path / "idx.csv", delimiter=",", skiprows=1, dtype=np.int64)
    assert (tmp_path / "idx.csv").read_text().startswith('"row","kept"\n')
    assert table[:, 0].tolist() == list(range(60))
    assert np.flatnonzero(table[:, 1]).tolist() == index.kept.tolist()


def test_without_its_sidecar_it_is_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, made_index())
    (tmp_path / "idx.npy.json").unlink()
    with pytest.raises(FileError, match=r"has no idx\.npy\.json beside it"):
        indexfile.read(path)


def test_a_sidecar_of_another_file_is_noticed(tmp_path: Path) -> None:
    indexfile.write(tmp_path / "a.npy", made_index(48))
    indexfile.write(tmp_path / "b.npy", made_index(47))
    (tmp_path / "a.npy.json").replace(tmp_path / "b.npy.json")
    with pytest.raises(FileError, match="do not belong together"):
        indexfile.read(tmp_path / "b.npy")


def test_neither_file_is_replaced_without_force(tmp_path: Path) -> None:
    path, beside = tmp_path / "idx.npy", tmp_path / "idx.npy.json"
    for existing in (path, beside):
        existing.write_text("precious")
        with pytest.raises(OutputExistsError, match="--force"):
            indexfile.write(path, made_index())
        assert list(tmp_path.iterdir()) == [existing]
        assert existing.read_text() == "precious"
        indexfile.write(path, made_index(), force=True)
        assert len(indexfile.read(path).kept) == 48
        path.unlink()
        beside.unlink()


def test_a_failed_write_leaves_both_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, made_index())
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((np, "save"), (Path, "write_text")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full)
            with pytest.raises(OutputError, match="No space left"):
                indexfile.write(path, made_index(10), force=True)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def write_signed(beside: Path, said: dict[str, Any]) -> None:
    """Write a sidecar whose own hash holds, where JSON of it can be hashed at all."""
    with contextlib.suppress(ValueError):
        said["statement_sha256"] = indexfile.statement_sha256(said)
    beside.write_text(json.dumps(said))


def test_a_changed_statement_is_noticed(tmp_path: Path) -> None:
    path, beside = tmp_path / "idx.npy", tmp_path / "idx.npy.json"
    indexfile.write(path, made_index())
    said = json.loads(beside.read_text())
    beside.write_text(json.dumps(said | {"created": "yesterday"}))
    with pytest.raises(FileError, match="was changed after it was written"):
        indexfile.read(path)
    # Another layout of the same JSON is no change.
    beside.write_text(json.dumps(said, indent=7))
    assert len(indexfile.read(path).kept) == 48


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.0, 1.0]), "not a list of rows"),
        (np.array([0, 1], dtype=np.int32), "not a list of rows"),
        (np.array([[0, 1]]), "not a list of rows"),
        (np.array([], dtype=np.int64), "keeps nothing"),
        (np.array([3, 2, 1]), "not ascending"),
        (np.array([1, 1, 2]), "not ascending"),
        (np.array([-1, 2]), "does not have"),
        (np.array([2, 60]), "does not have"),
        (np.ones(59, dtype=np.bool_), "does not fit"),
        (np.zeros(60, dtype=np.bool_), "keeps nothing"),
    ],
)
def test_arrays_that_are_no_rows_of_the_data(tmp_path: Path, array: Any, message: str) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, made_index())
    np.save(path, array)
    # The sidecar is made to fit, so that what is looked at is the array itself.
    beside = tmp_path / "idx.npy.json"
    said = json.loads(beside.read_text())
    said["array_sha256"] = sha256_bytes(array.tobytes())
    said["form"] = "mask" if array.dtype == np.bool_ else "index"
    write_signed(beside, said)
    with pytest.raises(FileError, match=message):
        indexfile.read(path)


class Bomb:
    def __reduce__(self) -> Any:
        raise AssertionError("pickled")

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("unpickled")


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, made_index())
    whole = path.read_bytes()
    np.savez(tmp_path / "idx.npz", a=np.arange(3))
    archive = (tmp_path / "idx.npz").read_bytes()
    promise = whole.replace(b"(48,)", b"(10000000000,)").replace(b" " * 9 + b"\n", b"\n")
    assert len(promise) == len(whole)
    for content in (b"", b"hello", whole[:-8], whole[:20], archive, pickle.dumps([1]), promise):
        path.write_bytes(content)
        with pytest.raises(FileError):
            indexfile.read(path)
    np.save(path, np.array([1, "a", None], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="Python objects"):
        indexfile.read(path)
    with pytest.raises(FileError, match="there is no file"):
        indexfile.read(tmp_path / "nothing.npy")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": "other"}, FileError),
        ({"format_version": "2.0"}, NewerFormatError),
        ({"format_version": "x"}, FileError),
        ({"dataset": {}}, FileError),
        ({"dataset": 3}, FileError),
        ({"classes": [3]}, FileError),
        ({"classes": [{"name": "ant", "before": "many", "after": 1}]}, FileError),
        ({"selection": {"seed": float("nan")}}, FileError),
        ({"selection": None}, FileError),
        ({"warnings": 3}, FileError),
    ],
)
def test_sidecars_that_do_not_hold(tmp_path: Path, change: Any, error: Any) -> None:
    path, beside = tmp_path / "idx.npy", tmp_path / "idx.npy.json"
    indexfile.write(path, made_index())
    write_signed(beside, json.loads(beside.read_text()) | change)
    with pytest.raises(error, match=r"idx\.npy\.json"):
        indexfile.read(path)
    for text in ("", "{", "[]", "[" * 100_000, "\ud800"):
        beside.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(FileError, match="damaged"):
            indexfile.read(path)


def test_the_digest_decides_as_the_whole_identity_does() -> None:
    images = pictures()
    labels = np.arange(60) % 3
    ranked = identity_of(images)
    chance = np.random.default_rng(1)
    within = np.arange(60)
    for label in range(3):
        rows = np.flatnonzero(labels == label)
        within[rows] = np.roll(rows, 1)
    anywhere = chance.permutation(60)
    noisy = np.clip(images.astype(int) + chance.integers(-2, 3, images.shape), 0, 255).astype(
        np.uint8
    )
    others = labels.copy()
    others[5] = (others[5] + 1) % 3
    cases = {
        Relation.SAME: [identity_of(images)],
        Relation.RELABELLED: [identity_of(images, others)],
        Relation.REENCODED: [identity_of(noisy)],
        Relation.REORDERED: [
            identity_of(images[within]),
            identity_of(images[anywhere], labels[anywhere]),
        ],
        Relation.LABELS_ONLY: [made_identity(images=False)],
        Relation.FOREIGN: [
            identity_of(noisy[within]),
            identity_of(noisy, others),
            identity_of(pictures(seed=9)),
            identity_of(images[:59]),
            dataclasses.replace(made_identity(images=False), label_fingerprint="0" * 64),
        ],
    }
    made_for = digest.digest_of(ranked)
    for relation, identities in cases.items():
        for data in identities:
            assert digest.relate_digest(made_for, data).relation is relation
            if not data.label_fingerprint.startswith("000"):
                assert relate(ranked, data).relation is relation


def test_rows_are_not_applied_to_data_they_were_not_made_for() -> None:
    index = made_index()
    data = made_identity()
    assert indexfile.check_against(index, data).relation is Relation.SAME
    assert indexfile.require_match(index, data, "the rows in idx.npy").usable
    with pytest.raises(DataMismatchError, match=r"the rows in idx\.npy were not made for this"):
        indexfile.require_match(index, made_identity(seed=5), "the rows in idx.npy")


@pytest.mark.real_data
def test_the_digest_of_real_images_survives_their_jpegs(
    cifar10_first5000: Identity, cifar10_jpegs: ImageData
) -> None:
    made_for = digest.digest_of(cifar10_first5000)
    assert len(made_for.rows) == 2040
    match = digest.relate_digest(made_for, cifar10_jpegs.identity)
    assert match.relation is Relation.REENCODED
    within = np.argsort(cifar10_jpegs.labels, kind="stable")
    moved = np.empty_like(within)
    moved[within] = np.roll(within, 1)
    moved = np.where(cifar10_jpegs.labels[moved] == cifar10_jpegs.labels, moved, np.arange(5000))
    shuffled = identify(
        "cifar10",
        "train",
        cifar10_jpegs.images[moved],
        cifar10_jpegs.labels,
        cifar10_first5000.class_names,
    )
    assert digest.relate_digest(made_for, shuffled).relation is Relation.FOREIGN
