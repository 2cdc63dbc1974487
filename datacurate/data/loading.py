"""From a name or a path to a data set in memory, checked and identified."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from datacurate.data.borrowing import borrowed_rows
from datacurate.data.canonical import in_official_order
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import KNOWN, Known
from datacurate.data.layouts import Split
from datacurate.data.locate import Located, locate
from datacurate.errors import DataError
from datacurate.identity import identify
from datacurate.notices import Notify


def known_names() -> tuple[str, ...]:
    """Return the names that `load` knows without a path."""
    return tuple(KNOWN)


def load(name: str, data: str | Path | None = None, *, tell: Notify | None = None) -> DataSet:
    """Return a data set with its two splits.

    Parameters
    ----------
    name : str
        ``cifar10``, ``cifar100``, ``tiny-imagenet`` or ``digits``; or the path of a folder of
        images, of parquet files with images, of an official archive or of an ``.npz``; or
        ``hf://datasets/owner/name``.
    data : str or Path, optional
        Where a data set of a known name is; else it is looked for in ``$DATACURATE_DATA`` and in
        the user's cache, and downloaded if it is in neither.
    tell : callable, optional
        Called with lines for people about downloads.

    Returns
    -------
    DataSet
        Where the data has no test split, a tenth of each class is borrowed for it, drawn by
        content hash.

    Raises
    ------
    UsageError, UnknownNameError
        If the name is neither known nor a path.
    DataError
        If the data is missing, damaged, not of the name given, or not images of one size with
        labels 0 … C-1.
    FetchError, OutputError
        If it had to be downloaded and could not.
    """
    located = locate(name, None if data is None else Path(data), tell)
    train = _train(located)
    flippable = located.name != "digits"
    nothing = np.empty(0, dtype=np.int64)
    if located.layout.test is not None:
        test = _test(located, located.layout.test(), train)
        return DataSet(train, test, flippable, nothing)
    assert train.identity.content_hash is not None
    rows = borrowed_rows(train.identity.content_hash, train.labels)
    if not rows.size:
        raise DataError(
            f"{located.origin} has no test split, and too few different images to borrow one",
            expected="two different images or more in some class",
            hint="add test images",
        )
    images, labels = train.images[rows], train.labels[rows]
    identity = identify(located.name, "test", images, labels, train.identity.class_names)
    source = {**train.source, "borrowed": f"{len(rows)} of the training examples"}
    return DataSet(train, ImageData(images, labels, identity, source), flippable, rows)


def load_train(
    name: str, data: Path | None = None, *, tell: Notify | None = None, fetching: bool = True
) -> ImageData:
    """Return the training split of a data set, as `load` does, without reading the other.

    With `fetching` false, a known data set that is not on this machine is not downloaded; then
    `DataNotFoundError` is raised.
    """
    return _train(locate(name, data, tell, fetching=fetching))


def _train(located: Located) -> ImageData:
    split = located.layout.train()
    known = located.known
    if not len(split.labels):
        raise DataError(f"{located.origin} holds no training images")
    if known is not None:
        split = in_official_order(_as_known(split, known, located.origin), known)
    names = _class_names(located, split.labels)
    _check_labels(split.labels, len(names), f"{located.origin} (train)")
    return _identified(located, "train", split, names)


def _test(located: Located, split: Split, train: ImageData) -> ImageData:
    where = f"{located.origin} (test)"
    if not len(split.labels):
        raise DataError(f"{where} holds no images", hint="remove the empty test split, or fill it")
    height, width, channels = train.identity.shape
    if channels == 3 and split.images.shape[3] == 1:
        split = _coloured(split)
    if split.images.shape[1:] != (height, width, channels):
        raise DataError(
            f"{where} holds other images than the training split",
            expected=_described((height, width, channels)),
            got=_described(split.images.shape[1:]),
            hint="bring both splits to one size and colour",
        )
    _check_labels(split.labels, train.identity.classes, where)
    return _identified(located, "test", split, train.identity.class_names)


def _identified(
    located: Located, split: str, read: Split, class_names: tuple[str, ...]
) -> ImageData:
    identity = identify(located.name, split, read.images, read.labels, class_names)
    source = {"layout": located.layout.kind, "location": located.origin}
    return ImageData(read.images, read.labels, identity, source)


def _coloured(split: Split) -> Split:
    return Split(np.repeat(split.images, 3, axis=3), split.labels)


def _as_known(split: Split, known: Known, where: str) -> Split:
    """Return a split that has a known data set's form, or raise."""
    if known.shape[2] == 3 and split.images.shape[3] == 1:
        split = _coloured(split)
    if split.images.shape[1:] != known.shape:
        raise DataError(
            f"{where} does not hold {known.title}",
            expected=_described(known.shape),
            got=_described(split.images.shape[1:]),
            hint="name the data set that this is, or give its path instead of a name",
        )
    return split


def _described(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"images of {width}×{height} in {'colour' if channels == 3 else 'grey'}"


def _class_names(located: Located, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the classes: those of the known data set, those of the files, or numbers."""
    known, given = located.known, located.layout.class_names
    present = np.unique(labels)
    if known is not None and given is None and len(present) != known.classes:
        raise DataError(
            f"{located.origin} does not hold {known.title}",
            expected=f"{known.classes} classes",
            got=f"{len(present):,} classes",
            hint="name the data set that this is, or give its path instead of a name",
        )
    names = (known.class_names if known is not None else None) or given
    if names is None:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if present[0] >= 0 and gaps.size:
            raise DataError(
                f"{located.origin} has no example of class {gaps[0]} although it has class "
                f"{present[gaps[0]]}",
                expected="labels 0 to C-1, each used",
                hint="number the classes from 0 without gaps, or name them all (class_names)",
            )
        names = tuple(str(label) for label in range(len(present)))
    if len(names) < 2:
        raise DataError(
            f"{located.origin} holds a single class",
            expected="two classes or more",
            got=", ".join(names),
        )
    return names


def _check_labels(labels: npt.NDArray[np.int64], classes: int, where: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{len(wrong):,} labels of {where} name no class",
            expected=f"0 to {classes - 1}",
            got=f"{labels[wrong[0]]} in row {wrong[0]}",
        )
