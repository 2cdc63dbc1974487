"""Folders of images in torchvision's order; folders without images are not classes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from datacurate.data import DataSet, ImageData, load, load_train
from datacurate.errors import DataError
from tests.data.data_files import encoded, noise

Write = Callable[..., Path]

# Names that sort differently as text and as numbers, in upper case, and nested.
NAMES = ["b/2.png", "b/10.png", "b/1.PNG", "A/x.png", "a/deep/y.png", "a/z.png", "a/deep.png"]


def files(prefix: str = "", names: list[str] = NAMES, seed: int = 0) -> dict[str, np.ndarray]:
    return {
        prefix + name: image
        for name, image in zip(names, noise(len(names), 8, seed=seed), strict=True)
    }


def as_torchvision(split: ImageData, folder: Path) -> None:
    other = datasets.ImageFolder(str(folder))
    assert split.identity.class_names == tuple(other.classes)
    assert split.labels.tolist() == other.targets
    assert np.array_equal(split.images, np.stack([np.asarray(image) for image, _ in other]))


def test_plain_classes(image_folder: Write) -> None:
    folder = image_folder(files())
    data = load(str(folder))
    as_torchvision(data.train, folder)
    assert data.train.source == {"layout": "image-folder", "location": str(folder)}
    assert data.train.identity.name == "images"
    assert data.test.source["borrowed"] == "2 of the training examples"
    assert data.flippable


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_train_and_test(image_folder: Write, test: str) -> None:
    image_folder(files("train/"))
    folder = image_folder(files(f"{test}/", NAMES[:4], seed=1))
    data = load(str(folder))
    as_torchvision(data.train, folder / "train")
    assert data.test.labels.tolist() == [0, 2, 2, 2]  # A, b: class a has no test image
    assert not data.borrowed.size


def test_val_is_used_if_the_test_folder_has_no_classes(image_folder: Write) -> None:
    image_folder(files("train/"))
    image_folder({"test/unlabelled.png": noise(1, 8)[0]})
    folder = image_folder(files("val/", seed=1))
    assert len(load(str(folder)).test) == len(NAMES)


def test_a_test_folder_with_other_classes(image_folder: Write) -> None:
    image_folder(files("train/"))
    folder = image_folder(files("val/", ["a/1.png", "c/1.png"]))
    with pytest.raises(DataError, match=r"val/ .* has classes that train/ does not have") as caught:
        load(str(folder))
    assert caught.value.got == "c"


def test_other_files_and_folders_are_not_classes(image_folder: Write) -> None:
    strays = [
        ".git/a.png",
        "__MACOSX/b/._1.png",
        ".ipynb_checkpoints/x.png",
        "b/.hidden.png",
        "b/.cache/x.png",
        "top.png",
    ]
    image_folder(files(names=strays, seed=3))
    folder = image_folder(files())
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "read.txt").write_text("not an image")
    (folder / "b" / "labels.csv").write_text("1,2")
    (folder / "Thumbs.db").write_bytes(b"x")
    data = load(str(folder))
    assert data.train.identity.class_names == ("A", "a", "b")
    assert len(data.train) == len(NAMES)


def test_a_class_called_train(image_folder: Write) -> None:
    folder = image_folder(files(names=["car/1.png", "car/2.png", "train/1.png", "train/2.png"]))
    assert load(str(folder)).train.identity.class_names == ("car", "train")


def test_a_single_outer_folder_is_skipped(image_folder: Write, tmp_path: Path) -> None:
    folder = image_folder(files("outer/inner/"))
    data = load(str(folder))
    as_torchvision(data.train, folder / "outer" / "inner")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        for name, image in files("outer/").items():
            archive.writestr(name, encoded(image))
        archive.writestr("__MACOSX/outer/b/._2.png", b"not an image")
    zipped = load(str(tmp_path / "packed.zip"))
    assert zipped.train.identity.name == "packed"
    assert zipped.train.identity.pixel_fingerprint == data.train.identity.pixel_fingerprint


def test_links_are_followed_but_not_in_a_cycle(image_folder: Write, tmp_path: Path) -> None:
    real = image_folder(files(), "real")
    linked = tmp_path / "linked"
    for name in NAMES:
        (linked / name).parent.mkdir(parents=True, exist_ok=True)
        (linked / name).symlink_to(real / name)
    (linked / "c").symlink_to(real / "b")
    (linked / "a" / "up").symlink_to(linked)
    data = load(str(linked))
    assert np.bincount(data.train.labels).tolist() == [1, 3, 3, 3]


def test_grey_images_stay_grey_unless_one_has_colour(image_folder: Write) -> None:
    grey = {f"{label}/{row}.png": noise(1, 8, 1, seed=row)[0] for label in "ab" for row in range(3)}
    folder = image_folder(grey)
    assert load(str(folder)).train.images.shape == (6, 8, 8, 1)
    image_folder({"b/9.png": noise(1, 8)[0]})
    assert load(str(folder)).train.images.shape == (7, 8, 8, 3)


def test_a_grey_test_split_follows_the_training_split(image_folder: Write) -> None:
    image_folder(files("train/"))
    folder = image_folder({"val/a/1.png": noise(1, 8, 1)[0]})
    assert load(str(folder)).test.images.shape == (1, 8, 8, 3)


def test_splits_of_different_images(image_folder: Write) -> None:
    image_folder(files("train/"))
    folder = image_folder({"val/a/1.png": noise(1, 9)[0]})
    with pytest.raises(DataError, match=r"\(test\) does not have the image shape") as caught:
        load(str(folder))
    assert caught.value.expected == "images of 8×8 in colour"
    assert caught.value.got == "images of 9×9 in colour"


def test_damaged_and_odd_files_are_named(image_folder: Write) -> None:
    folder = image_folder(files("train/"))
    path = folder / "train" / "a" / "deep" / "y.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:70])
    with pytest.raises(DataError, match=rf"{path} cannot be decoded"):
        load(str(folder))
    path.write_bytes(encoded(noise(1, 9)[0]))
    with pytest.raises(DataError, match=rf"differ in size: {path} is 9×9"):
        load(str(folder))
    path.unlink()
    path.symlink_to(folder / "nowhere")
    with pytest.raises(DataError, match=rf"{path} cannot be read: No such file"):
        load(str(folder))


def test_nothing_to_load(tmp_path: Path, image_folder: Write) -> None:
    with pytest.raises(DataError, match="is recognised as a data set") as caught:
        load(str(tmp_path))
    assert caught.value.got == "nothing"
    (tmp_path / "read.me").write_text("x")
    with pytest.raises(DataError, match="is recognised as a data set") as caught:
        load(str(tmp_path))
    assert caught.value.got == "read.me"
    one = image_folder(files(names=["only/1.png", "only/2.png"]))
    with pytest.raises(DataError, match=r"is recognised as|single class"):
        load(str(one))


def test_cifar10_as_folders_by_its_name(image_folder: Write) -> None:
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    images = noise(20)
    folder = image_folder(
        {
            f"train/{name}/{row}.png": images[2 * label + row]
            for label, name in enumerate(names)
            for row in range(2)
        }
    )
    data = load("cifar10", folder)
    assert data.train.identity.name == "cifar10"
    assert np.array_equal(data.train.images, images)
    with pytest.raises(DataError, match="is recognised as CIFAR-100"):
        load("cifar100", folder / "train" / "cat")
    for path in (folder / "train" / "truck").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="does not hold CIFAR-10") as caught:
        load("cifar10", folder)
    assert "9 classes" in (caught.value.got or "")


def test_small_images_are_not_cifar10(image_folder: Write) -> None:
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    folder = image_folder(files(names=[f"{name}/1.png" for name in names]))
    with pytest.raises(DataError, match="does not hold CIFAR-10") as caught:
        load_train("cifar10", folder)
    assert caught.value.got == "images of 8×8 in colour"


def test_the_walk_does_not_depend_on_the_order_of_the_file_system(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(files())
    first: DataSet = load(str(folder))
    scan = os.scandir

    class Backwards:
        def __init__(self, path: str) -> None:
            with scan(path) as entries:
                self.entries = iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

        def __enter__(self) -> Backwards:
            return self

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> Backwards:
            return self

        def __next__(self) -> object:
            return next(self.entries)

        def close(self) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    second = load(str(folder))
    assert first.train.identity.pixel_fingerprint == second.train.identity.pixel_fingerprint
    assert np.array_equal(first.borrowed, second.borrowed)
