"""Data sets in an .npz."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate.data import load, load_train
from datacurate.errors import DataError
from tests.data.data_files import noise

IMAGES = noise(12, 8)
LABELS = np.arange(12) % 3


def saved(place: Path, **changes: Any) -> str:
    arrays: dict[str, Any] = {"images": IMAGES, "labels": LABELS} | changes
    np.savez(place / "my.npz", **{k: v for k, v in arrays.items() if v is not None})
    return str(place / "my.npz")


def test_round_trip(tmp_path: Path) -> None:
    path = saved(tmp_path, test_images=IMAGES[:4], test_labels=LABELS[:4].astype(np.uint8))
    for place in (path, str(tmp_path)):
        data = load(place)
        assert np.array_equal(data.train.images, IMAGES)
        assert np.array_equal(data.train.labels, LABELS)
        assert data.train.labels.dtype == np.int64
        assert data.test.labels.tolist() == [0, 1, 2, 0]
        assert not data.borrowed.size
        assert data.train.identity.class_names == ("0", "1", "2")
    assert load(path).train.identity.name == "my"


def test_grey_with_and_without_channel(tmp_path: Path) -> None:
    grey = noise(12, 8, 1)
    first = load_train(saved(tmp_path, images=grey)).identity
    second = load_train(saved(tmp_path, images=grey[..., 0])).identity
    assert first.shape == second.shape == (8, 8, 1)
    assert first.pixel_fingerprint == second.pixel_fingerprint


def test_names_of_classes(tmp_path: Path) -> None:
    data = load_train(saved(tmp_path, class_names=np.array(["cat", "dog", "emu", "fox"])))
    assert data.identity.class_names == ("cat", "dog", "emu", "fox")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": LABELS.astype(float)}, r"labels .* not class numbers"),
        ({"labels": np.where(LABELS == 1, np.nan, LABELS)}, r"labels .* not class numbers"),
        ({"labels": LABELS > 0}, r"labels .* not class numbers"),
        ({"labels": LABELS[:, None]}, r"labels .* not class numbers"),
        ({"labels": LABELS.astype(str)}, r"labels .* not class numbers"),
        ({"labels": LABELS[:-1]}, "one label for each"),
        ({"labels": LABELS - 1}, r"4 labels .* are out of range"),
        ({"labels": LABELS + 1}, "no example of class 0 although it has class 1"),
        ({"labels": LABELS * 10**9}, "no example of class 1 although"),
        ({"labels": LABELS.astype(np.uint64) + np.uint64(2**63)}, "out of range"),
        ({"labels": LABELS * 0}, "single class"),
        ({"images": IMAGES.astype(np.float32) / 255}, "not 8-bit images"),
        ({"images": IMAGES.astype(np.int64)}, "not 8-bit images"),
        ({"images": IMAGES.reshape(12, -1)}, "not 8-bit images"),
        ({"images": IMAGES.transpose(0, 3, 1, 2)}, "not 8-bit images"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no training images"),
        ({"images": None}, "does not hold a data set"),
        ({"labels": None}, "does not hold a data set"),
        ({"test_images": IMAGES}, "does not hold a data set"),
        ({"test_images": IMAGES[:0], "test_labels": LABELS[:0]}, "holds no images"),
        ({"test_images": IMAGES[:, :4], "test_labels": LABELS}, "does not have the image shape"),
        ({"test_images": noise(2, 8, 1), "test_labels": LABELS[:2] + 7}, "are out of range"),
        ({"class_names": np.arange(3)}, "are not names"),
        ({"class_names": np.array(["a", "b"])}, "are out of range"),
        ({"labels": np.array([0, "x"] * 6, dtype=object)}, "Python objects"),
    ],
)
def test_arrays_that_are_not_a_data_set(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(saved(tmp_path, **changes))


def test_channels_first_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(saved(tmp_path, images=IMAGES.transpose(0, 3, 1, 2)))
    assert "transpose(0, 2, 3, 1)" in (caught.value.hint or "")


def test_grey_training_with_coloured_test_images(tmp_path: Path) -> None:
    path = saved(tmp_path, images=noise(12, 8, 1), test_images=IMAGES, test_labels=LABELS)
    with pytest.raises(DataError, match="does not have the image shape"):
        load(path)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_truncated(tmp_path: Path, kept: float) -> None:
    path = Path(saved(tmp_path))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=r"my\.npz"):
        load(str(path))


def test_foreign_files_called_npz(tmp_path: Path) -> None:
    path = tmp_path / "my.npz"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"my\.npz"):
        load(str(path))
    with path.open("wb") as stream:
        np.save(stream, IMAGES)
    with pytest.raises(DataError, match=r"not an \.npz"):
        load(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", b"not an array")
        archive.writestr("labels.npy", b"not an array")
    with pytest.raises(DataError, match="images"):
        load(str(path))


def test_absurd_shapes(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 32, 32, 3), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    claimed = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "my.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", claimed)
        archive.writestr("labels.npy", claimed)
    with pytest.raises(DataError, match=r"my\.npz"):
        load(str(path))


def test_loading_under_a_known_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not hold CIFAR-10"):
        load("cifar10", Path(saved(tmp_path)))
    with pytest.raises(DataError, match="does not hold CIFAR-100") as caught:
        load("cifar100", Path(saved(tmp_path, images=noise(12))))
    assert caught.value.got == "3 classes"
    data = load("cifar10", Path(saved(tmp_path, images=noise(20), labels=np.arange(20) % 10)))
    assert data.train.identity.class_names[9] == "truck"
