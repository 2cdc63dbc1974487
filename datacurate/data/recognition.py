"""Recognise the layout of a file or directory from the names in it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from datacurate.data.arrays import recognise_arrays
from datacurate.data.cifar import recognise_cifar
from datacurate.data.folders import recognise_folders
from datacurate.data.known import KnownDataSet
from datacurate.data.layouts import Layout
from datacurate.data.parquet import recognise_parquet
from datacurate.data.tiny_imagenet import recognise_tiny_imagenet
from datacurate.data.trees import folder_tree, zip_tree
from datacurate.errors import DataError, DataNotFoundError

_WNID = re.compile(r"n\d{8}")
_READABLE = (
    "an official CIFAR archive or its folder, Tiny-ImageNet's zip or folder, parquet files with "
    "images, folders of images, or an .npz"
)


def recognise(path: Path, known: KnownDataSet | None) -> Layout:
    """Return the layout of the data set at a path.

    Parameters
    ----------
    path : Path
        A file or directory.
    known : KnownDataSet or None
        The data set to look for; None for any.

    Raises
    ------
    DataNotFoundError
        If the path does not exist.
    DataError
        If there is no data set, not the expected one, or more than one.
    """
    if not path.exists():
        raise DataNotFoundError(
            f"there is no {path}", hint="give the directory or file that holds the data set"
        )
    layouts: list[Layout] = []
    try:
        for layout in _recognised_layouts(path, known):
            layouts.append(layout)
            if known is not None and _mismatch(layout, known) is None:
                return layout  # ignore other data sets beside it
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if known is not None or not layouts:
        raise _recognition_error(path, known, layouts)
    if len({(layout.kind, layout.known_as) for layout in layouts}) > 1:
        raise DataError(
            f"{path} holds several data sets",
            got=", ".join(f"{layout.location.name} ({layout.kind})" for layout in layouts),
            hint="give the path of one of them",
        )
    return layouts[0]


def _recognised_layouts(path: Path, known: KnownDataSet | None) -> Iterator[Layout]:
    """Yield every layout that is recognised, the most specific first."""
    recognised = False
    for layout in itertools.chain(recognise_cifar(path), _recognise_others(path)):
        recognised = True
        yield layout
    # Walking a folder may take long. Do it last, and for a known data set only if the names of its
    # folders match.
    tree = None
    if not recognised and path.suffix.lower() == ".zip" and path.is_file():
        tree = zip_tree(path)
    elif not recognised and path.is_dir() and (known is None or _has_class_folders(path, known)):
        tree = folder_tree(path)
    if tree is not None and (layout_of_folders := recognise_folders(tree)) is not None:
        yield layout_of_folders


def _recognise_others(path: Path) -> Iterator[Layout]:
    for recogniser in (_recognise_tiny_imagenet, recognise_parquet, recognise_arrays):
        layout = recogniser(path)
        if layout is not None:
            yield layout


def _recognise_tiny_imagenet(path: Path) -> Layout | None:
    if path.is_file():
        return recognise_tiny_imagenet(zip_tree(path)) if path.suffix.lower() == ".zip" else None
    for place in (path, path / "tiny-imagenet-200"):
        if (place / "wnids.txt").is_file():
            return recognise_tiny_imagenet(folder_tree(place))
    archives = sorted(path.glob("tiny-imagenet*.zip"))
    return recognise_tiny_imagenet(zip_tree(archives[0])) if len(archives) == 1 else None


def _has_class_folders(path: Path, known: KnownDataSet) -> bool:
    """Return whether folders have the names of a data set's classes, here or in ``train/``."""
    names = {entry.name for entry in path.iterdir()}
    if "train" in names and (path / "train").is_dir():
        names |= {entry.name for entry in (path / "train").iterdir()}
    inner = path / "tiny-imagenet-200" / "train"
    if inner.is_dir():
        names |= {entry.name for entry in inner.iterdir()}
    if known.class_names:
        return bool(names & set(known.class_names))
    return any(_WNID.fullmatch(name) for name in names)


def _mismatch(layout: Layout, known: KnownDataSet) -> str | None:
    """Return why a layout cannot be a known data set, judged by names, or None."""
    if layout.known_as is not None and layout.known_as != known.name:
        return f"{layout.location.name} is {layout.known_as}"
    names = layout.class_names
    if names is None:
        return None
    if not known.class_names:
        unknown = [name for name in names if not _WNID.fullmatch(name)]
        if unknown or len(names) > known.classes:
            return f"{len(names):,} classes: {', '.join((unknown or names)[:4])} …"
        return None
    pairs = zip(names, known.class_names, strict=False)
    differing = sum(name != official for name, official in pairs)
    # Public copies misspell a few names ("cra" for "crab"); other data sets differ in more.
    if len(names) != known.classes or differing > known.classes // 20:
        return f"{len(names):,} classes: {', '.join(names[:4])} …"
    return None


def _recognition_error(path: Path, known: KnownDataSet | None, layouts: list[Layout]) -> DataError:
    if known is not None and layouts:
        return DataError(
            f"{path} does not hold {known.title}",
            expected=f"{known.classes} classes, images of {_size(known)}",
            got="; ".join(filter(None, (_mismatch(layout, known) for layout in layouts))),
            hint=f"give the directory of {known.name}, or name the data set that this is",
        )
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        content = ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "nothing"
    else:
        content = path.name
    return DataError(
        f"nothing in {path} is recognised as {known.title if known else 'a data set of images'}",
        expected=_READABLE,
        got=content,
    )


def _size(known: KnownDataSet) -> str:
    height, width, channels = known.shape
    return f"{width}×{height} in {'colour' if channels == 3 else 'grey'}"
