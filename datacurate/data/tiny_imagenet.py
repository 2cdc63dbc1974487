"""Read the original Tiny-ImageNet: ``wnids.txt``, ``train/<wnid>/images``, annotations."""

from __future__ import annotations

from collections.abc import Mapping

from datacurate.data.folders import class_files, list_image_files, read_classes, read_images
from datacurate.data.layouts import Layout, Split
from datacurate.data.trees import FileTree, image_order
from datacurate.errors import DataError

_ANNOTATIONS = "val/val_annotations.txt"


def recognise_tiny_imagenet(tree: FileTree) -> Layout | None:
    """Return the layout of an original Tiny-ImageNet tree, or None.

    The classes are the WordNet ids that have training images, sorted; a part of the data set has
    fewer than 200. Validation images are sorted by class and name, so a copy with one folder per
    class gives the same order.
    """
    marks = [name for name in tree.names if name.rpartition("/")[2] == "wnids.txt"]
    if len(marks) != 1:
        return None
    top = marks[0].rpartition("/")[0]
    tree = tree.below(top) if top else tree
    if _ANNOTATIONS not in tree.names:
        return None  # a copy with one folder per class: recognised as a folder of images
    wnids = sorted(tree.read("wnids.txt").decode("ascii", "replace").split())
    train = tree.below("train")
    present = {name.partition("/")[0] for name in train.names}
    classes = tuple(wnid for wnid in wnids if wnid in present)
    if not classes:
        raise DataError(
            f"{tree.location} has no training images of the classes in wnids.txt",
            hint="extract the official archive again",
        )
    return Layout(
        kind="tiny-imagenet",
        location=tree.location,
        train=lambda: read_classes(train, classes),
        test=lambda: _validation(tree, classes),
        class_names=classes,
        known_as="tiny-imagenet",
        train_files=list_image_files(train, lambda: class_files(train, classes)),
        test_files=list_image_files(tree, lambda: _validation_files(tree, classes), below=2),
    )


def _validation(tree: FileTree, classes: tuple[str, ...]) -> Split:
    return read_images(tree, _validation_files(tree, classes))


def _validation_files(tree: FileTree, classes: tuple[str, ...]) -> list[list[str]]:
    by_class: Mapping[str, list[str]] = {wnid: [] for wnid in classes}
    text = tree.read(_ANNOTATIONS).decode("utf-8", "replace")
    names = set(tree.names)
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        name = f"val/images/{fields[0]}"
        if len(fields) < 2 or fields[1] not in by_class or name not in names:
            raise DataError(
                f"line {number} of {_ANNOTATIONS} in {tree.location} is not valid",
                expected="the name of an image in val/images, a tab, and a class from wnids.txt",
                got=line[:80],
            )
        by_class[fields[1]].append(name)
    return [sorted(by_class[wnid], key=image_order) for wnid in classes]
