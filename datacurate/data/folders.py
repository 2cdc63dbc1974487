"""Folders of images: one folder a class, with or without ``train/`` and ``val/`` above them.

The order is that of torchvision's ``ImageFolder``: classes by name, then images by folder and name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from datacurate.data.decoding import EXTENSIONS, decode_images
from datacurate.data.layouts import Layout, Split
from datacurate.data.trees import FileTree, image_order
from datacurate.errors import DataError

_TEST_FOLDERS = ("test", "val", "validation", "valid")  # the first with classes is taken


def recognise_folders(tree: FileTree) -> Layout | None:
    """Return the layout of folders of images, or None if there are none.

    Folders without images, hidden ones and stray files are no classes. A single folder around
    everything, as archives have, is passed through.

    Raises
    ------
    DataError
        If a folder of test images has classes that the training images have not.
    """
    names = _images(tree)
    while names and len(tops := {name.partition("/")[0] for name in names}) == 1:
        top = tops.pop()
        if top == "train" or not all("/" in name for name in names):
            break
        tree = tree.below(top)
        names = _images(tree)
    train, test = tree, None
    inside = _images(tree.below("train"))
    if inside and all("/" in name for name in inside):
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
    )


def read_classes(tree: FileTree, classes: Sequence[str]) -> Split:
    """Read the images below each class's folder, in torchvision's order."""
    names: dict[str, list[str]] = {name: [] for name in classes}
    for name in _images(tree):
        top, separator, _ = name.partition("/")
        if separator and top in names:
            names[top].append(name)
    return read_images(tree, [sorted(names[name], key=image_order) for name in classes])


def read_images(tree: FileTree, by_class: Sequence[Sequence[str]]) -> Split:
    """Read image files, the first sequence with label 0, the next with label 1 and so on."""
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
    """Return the folder of test images; one without class folders holds no labels to test with."""
    candidates = [(folder, _classes(tree.below(folder))) for folder in _TEST_FOLDERS]
    candidates = [(folder, found) for folder, found in candidates if found]
    for folder, found in candidates:
        if set(found) <= set(classes):
            return tree.below(folder)
    if candidates:
        folder, found = candidates[0]
        strange = sorted(set(found) - set(classes))
        raise DataError(
            f"{folder}/ in {tree.location} has classes that train/ has not",
            expected=f"folders named as in train/: {', '.join(classes[:5])} …",
            got=", ".join(strange[:5]),
        )
    return None
