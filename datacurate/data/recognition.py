"""Which of the known layouts a file or directory has, told by looking at names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from datacurate.data.arrays import recognise_arrays
from datacurate.data.cifar import recognise_cifar
from datacurate.data.folders import recognise_folders
from datacurate.data.known import Known
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


def recognise(path: Path, known: Known | None) -> Layout:
    """Return the layout of the data set at a path.

    Parameters
    ----------
    path : Path
        A file or directory.
    known : Known or None
        The data set it shall be; None for any.

    Raises
    ------
    DataNotFoundError
        If there is nothing at the path.
    DataError
        If nothing there is a data set, or not the one it shall be, or it could be several.
    """
    if not path.exists():
        raise DataNotFoundError(
            f"there is no {path}", hint="give the directory or file that holds the data set"
        )
    found: list[Layout] = []
    try:
        for layout in _layouts(path, known):
            found.append(layout)
            if known is not None and _mismatch(layout, known) is None:
                return layout  # whatever else lies beside it
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if known is not None or not found:
        raise _nothing_fits(path, known, found)
    meant = {(layout.kind, layout.known_as) for layout in found}
    if len(meant) > 1:
        raise DataError(
            f"{path} holds several data sets",
            got=", ".join(f"{layout.location.name} ({layout.kind})" for layout in found),
            hint="give the path of one of them",
        )
    return found[0]


def _layouts(path: Path, known: Known | None) -> Iterator[Layout]:
    """Yield every layout recognised, the most telling first."""
    some = False
    for layout in itertools.chain(recognise_cifar(path), _others(path)):
        some = True
        yield layout
    # Walking a folder may take long, so it comes last, and for a known data set only after a look
    # at the names of its folders.
    tree = None
    if not some and path.suffix.lower() == ".zip" and path.is_file():
        tree = zip_tree(path)
    elif not some and path.is_dir() and (known is None or _has_class_folders(path, known)):
        tree = folder_tree(path)
    if tree is not None and (layout_of_folders := recognise_folders(tree)) is not None:
        yield layout_of_folders


def _others(path: Path) -> Iterator[Layout]:
    for recogniser in (_tiny_imagenet, recognise_parquet, recognise_arrays):
        layout = recogniser(path)
        if layout is not None:
            yield layout


def _tiny_imagenet(path: Path) -> Layout | None:
    if path.is_file():
        return recognise_tiny_imagenet(zip_tree(path)) if path.suffix.lower() == ".zip" else None
    for place in (path, path / "tiny-imagenet-200"):
        if (place / "wnids.txt").is_file():
            return recognise_tiny_imagenet(folder_tree(place))
    archives = sorted(path.glob("tiny-imagenet*.zip"))
    return recognise_tiny_imagenet(zip_tree(archives[0])) if len(archives) == 1 else None


def _has_class_folders(path: Path, known: Known) -> bool:
    """Return whether folders are named as a data set's classes, here or in ``train/``."""
    names = {entry.name for entry in path.iterdir()}
    if "train" in names and (path / "train").is_dir():
        names |= {entry.name for entry in (path / "train").iterdir()}
    inner = path / "tiny-imagenet-200" / "train"
    if inner.is_dir():
        names |= {entry.name for entry in inner.iterdir()}
    if known.class_names:
        return bool(names & set(known.class_names))
    return any(_WNID.fullmatch(name) for name in names)


def _mismatch(layout: Layout, known: Known) -> str | None:
    """Return why a layout cannot be a known data set, as far as names tell, or None."""
    if layout.known_as is not None and layout.known_as != known.name:
        return f"{layout.location.name} is {layout.known_as}"
    names = layout.class_names
    if names is None:
        return None
    if not known.class_names:
        strange = [name for name in names if not _WNID.fullmatch(name)]
        if strange or len(names) > known.classes:
            return f"{len(names):,} classes: {', '.join((strange or names)[:4])} …"
        return None
    differing = sum(mine != theirs for mine, theirs in zip(names, known.class_names, strict=False))
    # Copies in circulation misspell a name or two ("cra" for "crab"); another data set does more.
    if len(names) != known.classes or differing > known.classes // 20:
        return f"{len(names):,} classes: {', '.join(names[:4])} …"
    return None


def _nothing_fits(path: Path, known: Known | None, found: list[Layout]) -> DataError:
    if known is not None and found:
        return DataError(
            f"{path} does not hold {known.title}",
            expected=f"{known.classes} classes, images of {_size(known)}",
            got="; ".join(filter(None, (_mismatch(layout, known) for layout in found))),
            hint=f"give the directory of {known.name}, or name the data set that this is",
        )
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        there = ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "nothing"
    else:
        there = path.name
    return DataError(
        f"nothing in {path} is recognised as {known.title if known else 'a data set of images'}",
        expected=_READABLE,
        got=there,
    )


def _size(known: Known) -> str:
    height, width, channels = known.shape
    return f"{width}×{height} in {'colour' if channels == 3 else 'grey'}"
