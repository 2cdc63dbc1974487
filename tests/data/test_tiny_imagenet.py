"""Tiny-ImageNet: the original zip and folder, and the rearranged one."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from datacurate.data import DataSet, OfficialStatus, load, load_train, official_status
from datacurate.data.locate import locate
from datacurate.errors import DataError
from tests.data.data_files import encoded, noise

WNIDS = ["n00000002", "n00000001"]


@pytest.fixture(scope="module")
def mini(tiny_zip: Path) -> DataSet:
    return load("tiny-imagenet", tiny_zip)


@pytest.mark.real_data
def test_the_zip_has_twenty_classes(mini: DataSet) -> None:
    assert mini.train.images.shape == (2000, 64, 64, 3)
    assert mini.test.images.shape == (500, 64, 64, 3)
    assert mini.train.identity.classes == 20
    assert mini.train.identity.class_names[0] == "n01443537"
    assert np.bincount(mini.train.labels).tolist() == [100] * 20
    assert np.bincount(mini.test.labels).tolist() == [25] * 20
    status, sentence = official_status(mini.train.identity)
    assert status is OfficialStatus.DIFFERENT
    assert "2,000 examples instead of 100,000" in sentence


@pytest.mark.real_data
def test_the_zip_is_found_among_other_data_sets(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATACURATE_DATA", str(shared_data))
    located = locate("tiny-imagenet")
    assert located.layout.location == shared_data / "tiny-imagenet-mini.zip"
    assert locate("cifar10").layout.location == shared_data / "cifar10"


@pytest.mark.real_data
def test_grey_jpegs_become_colour(mini: DataSet, tiny_zip: Path) -> None:
    with zipfile.ZipFile(tiny_zip) as archive:
        names = [name for name in archive.namelist() if "/train/" in name and name.endswith("EG")]
        names.sort(key=lambda name: (name.split("/")[2], name.rpartition("/")[2]))
        grey = [
            row
            for row, name in enumerate(names)
            if Image.open(io.BytesIO(archive.read(name))).mode == "L"
        ]
        expected = np.asarray(Image.open(io.BytesIO(archive.read(names[grey[0]]))))
    assert grey
    assert np.array_equal(mini.train.images[grey[0]], expected[..., None].repeat(3, axis=2))
    for row in grey:
        assert (np.ptp(mini.train.images[row], axis=2) == 0).all()


@pytest.mark.real_data
def test_the_order_is_torchvisions(mini: DataSet, tiny_folder: Path) -> None:
    other = datasets.ImageFolder(str(tiny_folder / "train"))
    assert mini.train.identity.class_names == tuple(other.classes)
    assert mini.train.labels.tolist() == other.targets
    for row in range(0, 2000, 37):
        assert np.array_equal(mini.train.images[row], np.asarray(other[row][0]))


@pytest.mark.real_data
def test_original_and_rearranged_folders_give_the_same_data(
    mini: DataSet, tiny_folder: Path, tmp_path: Path
) -> None:
    labels = dict(
        line.split("\t")[:2]
        for line in (tiny_folder / "val" / "val_annotations.txt").read_text().splitlines()
    )
    for path in sorted(tiny_folder.glob("train/*/images/*.JPEG")):
        place = tmp_path / "train" / path.parts[-3] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    for path in sorted(tiny_folder.glob("val/images/*.JPEG")):
        place = tmp_path / "val" / labels[path.name] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    shutil.copytree(tiny_folder / "val" / "images", tmp_path / "test" / "images")
    rearranged = load("tiny-imagenet", tmp_path)
    assert rearranged.train.source["layout"] == "image-folder"
    extracted = load("tiny-imagenet", tiny_folder.parent)
    assert extracted.train.source["layout"] == "tiny-imagenet"
    for data in (rearranged, extracted):
        for mine, theirs in ((mini.train, data.train), (mini.test, data.test)):
            assert mine.identity.pixel_fingerprint == theirs.identity.pixel_fingerprint
            assert mine.identity.label_fingerprint == theirs.identity.label_fingerprint


def write(place: Path, annotations: str | None = None) -> Path:
    with zipfile.ZipFile(place / "tiny-imagenet-200.zip", "w") as archive:
        archive.writestr("top/wnids.txt", "\n".join([*WNIDS, "n00000003"]))
        for label, wnid in enumerate(WNIDS):
            for row in range(3):
                name = f"top/train/{wnid}/images/{wnid}_{row}.JPEG"
                archive.writestr(name, encoded(noise(1, 64, 1 + 2 * label, seed=row)[0], "JPEG"))
            archive.writestr(f"top/train/{wnid}/{wnid}_boxes.txt", "x")
            archive.writestr(f"top/val/images/val_{label}.JPEG", encoded(noise(1, 64)[0], "JPEG"))
        lines = [f"val_{label}.JPEG\t{wnid}\t0\t0\t9\t9" for label, wnid in enumerate(WNIDS)]
        archive.writestr("top/val/val_annotations.txt", annotations or "\n".join(lines))
    return place


def test_classes_without_images_are_absent(tmp_path: Path) -> None:
    data = load("tiny-imagenet", write(tmp_path))
    assert data.train.identity.class_names == ("n00000001", "n00000002")
    assert data.train.labels.tolist() == [0] * 3 + [1] * 3
    assert data.test.labels.tolist() == [0, 1]
    assert load(str(tmp_path)).train.images.shape == (6, 64, 64, 3)


@pytest.mark.parametrize("line", ["val_0.JPEG", "val_7.JPEG\tn00000001", "val_0.JPEG\tn00000009"])
def test_invalid_annotations_are_refused(tmp_path: Path, line: str) -> None:
    write(tmp_path, f"val_1.JPEG\tn00000001\n{line}\n")
    with pytest.raises(DataError, match=r"line 2 of val/val_annotations\.txt") as caught:
        load("tiny-imagenet", tmp_path)
    assert caught.value.got == line


def test_tiny_imagenet_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not hold CIFAR-10"):
        load_train("cifar10", write(tmp_path) / "tiny-imagenet-200.zip")


def test_damaged_zips(tmp_path: Path) -> None:
    path = write(tmp_path) / "tiny-imagenet-200.zip"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        load("tiny-imagenet", path)
    at = whole.index(b"JFIF")
    path.write_bytes(whole[:at] + b"XXXX" + whole[at + 4 :])
    with pytest.raises(DataError, match=r"n00000002_0\.JPEG .* cannot be read: Bad CRC"):
        load("tiny-imagenet", path)
    path.write_text("no zip")
    with pytest.raises(DataError, match="cannot be read"):
        load(str(path))
