"""Read folders of images: one folder per class, directly or below ``train/`` and ``val/``.

The order is that of torchvision's ``ImageFolder``: classes by name, then images by folder and name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from datacurate.data.decoding import EXTENSIONS, decode_images
from datacurate.data.layouts import Layout, Split
from datacurate.data.trees import FileTree, image_order
from datacurate.errors import DataError

_TEST_FOLDERS = ("test", "val", "validation", "valid")  # the first one with class folders is used


def recognise_folders(tree: FileTree) -> Layout | None:
    """Return the layout of folders of images, or None if there are none.

    Folders without images, hidden folders and single files are ignored. If one folder contains
    everything, as in many archives, its content is used.

    Raises
    ------
    DataError
        If the test images have classes that the training images do not have.
    """
    names = _images(tree)
    while names and len(tops := {name.partition("/")[0] for name in names}) == 1:
        top = tops.pop()
        if top == "train" or not all("/" in name for name in names):
            break
        tree = tree.below(top)
        names = _images(tree)
    train, test = tree, None
    train_names = _images(tree.below("train"))
    if train_names and all("/" in name for name in train_names):
        train = tree.below("train")
        test = _test_tree(tree, _classes(train))
    classes = _classes(train)
    if not classes:
        return None
    return Layout(
        kind="image-folder",
        location=tree.location,
        train=lambda: read_classes(train, classes),
        test=(lambda: read_classes(test, classes)) if test else None,
        class_names=classes,
        train_files=list_image_files(train, lambda: class_files(train, classes)),
        test_files=list_image_files(test, lambda: class_files(test, classes)) if test else None,
    )


def read_classes(tree: FileTree, classes: Sequence[str]) -> Split:
    """Read the images below each class's folder, in torchvision's order."""
    return read_images(tree, class_files(tree, classes))


def class_files(tree: FileTree, classes: Sequence[str]) -> list[list[str]]:
    """Return the names of the images below each class's folder, in torchvision's order."""
    names: dict[str, list[str]] = {name: [] for name in classes}
    for name in _images(tree):
        top, separator, _ = name.partition("/")
        if separator and top in names:
            names[top].append(name)
    return [sorted(names[name], key=image_order) for name in classes]


def list_image_files(
    tree: FileTree, by_class: Callable[[], Sequence[Sequence[str]]], below: int = 1
) -> Callable[[], list[tuple[Path, str]]] | None:
    """Return a function that lists the image files of a tree in order; None for a zip.

    Parameters
    ----------
    tree : FileTree
    by_class : callable
        Returns the names of the images of each class.
    below : int
        Number of leading folders to remove from a name, down to the folder of the class.
    """
    if not tree.location.is_dir():
        return None
    return lambda: [
        (Path(tree.title(name)), "/".join(name.split("/")[below:]))
        for name in itertools.chain.from_iterable(by_class())
    ]


def read_images(tree: FileTree, by_class: Sequence[Sequence[str]]) -> Split:
    """Read image files; the first sequence gets label 0, the second label 1, and so on."""
    files = list(itertools.chain.from_iterable(by_class))
    labels = np.repeat(np.arange(len(by_class)), [len(names) for names in by_class])
    images = decode_images(
        len(files), lambda row: tree.read(files[row]), lambda row: tree.title(files[row])
    )
    return Split(images, labels.astype(np.int64))


def _images(tree: FileTree) -> list[str]:
    return [name for name in tree.names if name.lower().endswith(EXTENSIONS)]


def _classes(tree: FileTree) -> tuple[str, ...]:
    return tuple(sorted({name.partition("/")[0] for name in _images(tree) if "/" in name}))


def _test_tree(tree: FileTree, classes: Sequence[str]) -> FileTree | None:
    """Return the first folder of test images that has class folders, or None."""
    candidates = [(folder, _classes(tree.below(folder))) for folder in _TEST_FOLDERS]
    candidates = [(folder, names) for folder, names in candidates if names]
    for folder, names in candidates:
        if set(names) <= set(classes):
            return tree.below(folder)
    if candidates:
        folder, names = candidates[0]
        unknown = sorted(set(names) - set(classes))
        raise DataError(
            f"{folder}/ in {tree.location} has classes that train/ does not have",
            expected=f"folders named as in train/: {', '.join(classes[:5])} …",
            got=", ".join(unknown[:5]),
        )
    return None
