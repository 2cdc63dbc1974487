"""Official CIFAR archives: packed and extracted, Python and binary version."""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from datacurate.data import load, load_train
from datacurate.errors import DataError
from tests.data.data_files import noise, python2_pickle

ROWS = 6  # images in each batch


def planes(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def batch(start: int, fine: bool, protocol: int = 0) -> bytes:
    """A pickle like the official ones, or of protocol 2 and above as Python 3 writes it."""
    images = noise(ROWS, seed=start)
    labels = [(start + row) % (100 if fine else 10) for row in range(ROWS)]
    if not protocol:
        numbers = {"fine_labels": labels, "coarse_labels": labels} if fine else {"labels": labels}
        return python2_pickle({"data": planes(images), "batch_label": "a batch", **numbers})
    value: dict[bytes, Any] = {
        b"data": planes(images),
        b"filenames": [b"%d.png" % row for row in range(ROWS)],
        b"batch_label": b"a batch",
    }
    value |= {b"fine_labels": labels, b"coarse_labels": labels} if fine else {b"labels": labels}
    return pickle.dumps(value, protocol)


def write_cifar10(place: Path, protocol: int = 0) -> Path:
    folder = place / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(batch(number, False, protocol))
    (folder / "test_batch").write_bytes(batch(0, False, protocol))
    return folder


def write_cifar100(place: Path) -> Path:
    folder = place / "cifar-100-python"
    folder.mkdir(parents=True)
    (folder / "train").write_bytes(batch(1, True))
    (folder / "test").write_bytes(batch(0, True))
    return folder


def packed(folder: Path) -> Path:
    archive = folder.parent / {
        "cifar-10-batches-py": "cifar-10-python.tar.gz",
        "cifar-100-python": "cifar-100-python.tar.gz",
    }.get(folder.name, f"{folder.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


class Unchecked(datasets.CIFAR10):  # type: ignore[misc]
    """torchvision's reader without its check for the official files."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        pass


def test_cifar10_reads_as_torchvision_does(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    data = load("cifar10", folder)
    for split, train in ((data.train, True), (data.test, False)):
        other = Unchecked(tmp_path, train=train)
        assert np.array_equal(split.images, other.data)
        assert split.labels.tolist() == other.targets
    assert data.train.source == {"layout": "cifar-python", "location": str(folder)}
    assert data.train.identity.class_names[3] == "cat"
    assert data.flippable
    assert not data.borrowed.size
    assert np.array_equal(data.trainable, np.arange(5 * ROWS))


class Unchecked100(datasets.CIFAR100):  # type: ignore[misc]
    """The same for CIFAR-100."""

    _check_integrity = Unchecked._check_integrity
    _load_meta = Unchecked._load_meta


def test_cifar100_reads_as_torchvision_does(tmp_path: Path) -> None:
    data = load("cifar100", write_cifar100(tmp_path))
    for split, train in ((data.train, True), (data.test, False)):
        other = Unchecked100(tmp_path, train=train)
        assert np.array_equal(split.images, other.data)
        assert split.labels.tolist() == other.targets


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_batches_written_by_python_3(tmp_path: Path, protocol: int) -> None:
    old = load_train("cifar10", write_cifar10(tmp_path / "old"))
    new = load_train("cifar10", write_cifar10(tmp_path / "new", protocol))
    assert new.identity.pixel_fingerprint == old.identity.pixel_fingerprint
    assert new.identity.label_fingerprint == old.identity.label_fingerprint


def test_every_archive_of_cifar10_gives_the_same_data(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path / "extracted")
    archive = packed(folder)
    alone = tmp_path / "alone"
    alone.mkdir()
    archive = archive.rename(alone / archive.name)
    binary = tmp_path / "binary" / "cifar-10-batches-bin"
    binary.mkdir(parents=True)
    for name, start in [(f"data_batch_{n}", n) for n in range(1, 6)] + [("test_batch", 0)]:
        labels = np.array([(start + row) % 10 for row in range(ROWS)], dtype=np.uint8)
        records = np.hstack([labels[:, None], planes(noise(ROWS, seed=start))])
        (binary / f"{name}.bin").write_bytes(records.tobytes())
    places = [folder, folder.parent, archive, alone, binary, binary.parent, packed(binary)]
    sets = [load("cifar10", place) for place in places]
    for split in ("train", "test"):
        prints = {getattr(data, split).identity.pixel_fingerprint for data in sets}
        label_prints = {getattr(data, split).identity.label_fingerprint for data in sets}
        assert len(prints) == len(label_prints) == 1
    assert {data.train.source["layout"] for data in sets} == {"cifar-python", "cifar-binary"}


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    folder = write_cifar100(tmp_path)
    for place in (folder, tmp_path, packed(folder)):
        data = load("cifar100", place)
        assert np.array_equal(data.train.images, noise(ROWS, seed=1))
        assert data.train.labels.tolist() == [1, 2, 3, 4, 5, 6]
        assert data.train.identity.classes == 100
        assert data.train.identity.class_names[26] == "crab"
    binary = tmp_path / "cifar-100-binary"
    binary.mkdir()
    for name, start in (("train", 1), ("test", 0)):
        fine = np.array([start + row for row in range(ROWS)], dtype=np.uint8)
        records = np.hstack([fine[:, None] + 50, fine[:, None], planes(noise(ROWS, seed=start))])
        (binary / f"{name}.bin").write_bytes(records.astype(np.uint8).tobytes())
    again = load("cifar100", binary)
    assert again.train.identity.pixel_fingerprint == data.train.identity.pixel_fingerprint
    assert again.train.labels.tolist() == [1, 2, 3, 4, 5, 6]


def test_both_in_one_directory_as_torchvision_leaves_them(tmp_path: Path) -> None:
    packed(write_cifar10(tmp_path))
    packed(write_cifar100(tmp_path))
    assert load_train("cifar10", tmp_path).identity.classes == 10
    assert load_train("cifar100", tmp_path).identity.classes == 100
    with pytest.raises(DataError, match="several data sets"):
        load_train(str(tmp_path))


def test_the_other_cifar_is_refused(tmp_path: Path) -> None:
    folder = write_cifar100(tmp_path)
    with pytest.raises(DataError, match="does not hold CIFAR-10") as caught:
        load("cifar10", folder)
    assert "cifar100" in (caught.value.got or "")


def test_a_missing_batch(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"incomplete.*data_batch_4"):
        load("cifar10", folder)
    with pytest.raises(DataError, match=r"incomplete.*data_batch_4"):
        load("cifar10", packed(folder))


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_archive(tmp_path: Path, kept: float) -> None:
    archive = packed(write_cifar10(tmp_path / "x"))
    archive.write_bytes(archive.read_bytes()[: int(kept * archive.stat().st_size)])
    with pytest.raises(DataError, match=r"cannot be read|incomplete"):
        load("cifar10", archive)


def test_a_truncated_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "train.bin").write_bytes(bytes(3074 * 2 - 1))
    (folder / "test.bin").write_bytes(bytes(3074))
    with pytest.raises(DataError, match="truncated"):
        load("cifar100", folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"labels": [1, 2]}, "one label for each"),
        ({b"labels": None}, "one label for each"),
        ({b"labels": [0.5] * ROWS}, "one label for each"),
        ({b"labels": [10] * ROWS}, "are out of range"),
        ({b"labels": [-1] * ROWS}, "are out of range"),
        ({b"data": [1, 2]}, "does not hold CIFAR images"),
        ({b"data": np.zeros((ROWS, 3072), np.int64)}, "does not hold CIFAR images"),
        ({b"data": np.zeros((ROWS, 3071), np.uint8)}, "does not hold CIFAR images"),
    ],
)
def test_batches_that_are_not_cifar(tmp_path: Path, change: dict[bytes, Any], message: str) -> None:
    folder = write_cifar10(tmp_path)
    value = pickle.loads(batch(1, False, 2)) | change
    (folder / "data_batch_1").write_bytes(pickle.dumps(value, 2))
    with pytest.raises(DataError, match=message):
        load("cifar10", folder)


def test_a_hostile_batch_is_refused(tmp_path: Path) -> None:
    folder = write_cifar10(tmp_path)
    (folder / "data_batch_2").write_bytes(b"cposix\nsystem\n(S'touch mark'\ntR.")
    for place in (folder, packed(folder)):
        with pytest.raises(DataError, match=r"data_batch_2 asks to load posix\.system"):
            load("cifar10", place)
