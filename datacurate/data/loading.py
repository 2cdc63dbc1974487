"""Load a data set by name or path, check it, and compute its identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from datacurate.data.borrowing import borrowed_rows
from datacurate.data.canonical import restore_official_order
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import KNOWN, KnownDataSet
from datacurate.data.layouts import Split
from datacurate.data.locate import DataLocation, locate
from datacurate.errors import DataError
from datacurate.identity import identify
from datacurate.notices import Notify


def known_names() -> tuple[str, ...]:
    """Return the names that `load` accepts without a path."""
    return tuple(KNOWN)


def load(name: str, data: str | Path | None = None, *, tell: Notify | None = None) -> DataSet:
    """Return a data set with its two splits.

    Parameters
    ----------
    name : str
        A known name (see `known_names`); the path of a folder of images, of Parquet files with
        images, of an official archive or of an ``.npz`` file; or ``hf://datasets/owner/name``.
    data : str or Path, optional
        Place of a data set with a known name. By default it is searched for in
        ``$DATACURATE_DATA`` and in the user's cache, and downloaded if it is in neither.
    tell : callable, optional
        Called with messages about downloads.

    Returns
    -------
    DataSet
        If the data has no test split, a tenth of each class serves as test examples, chosen by
        content hash.

    Raises
    ------
    UsageError, UnknownNameError
        If the name is neither known nor a path.
    DataError
        If the data is missing or damaged, is not the named data set, or does not hold images of
        one size with labels 0 to C-1.
    FetchError, OutputError
        If it has to be downloaded and the download fails.
    """
    location = locate(name, None if data is None else Path(data), tell)
    train = _train(location)
    flippable = location.name != "digits"
    no_rows = np.empty(0, dtype=np.int64)
    if location.layout.test is not None:
        test = _test(location, location.layout.test(), train)
        return DataSet(train, test, flippable, no_rows)
    assert train.identity.content_hash is not None
    rows = borrowed_rows(train.identity.content_hash, train.labels)
    if not rows.size:
        raise DataError(
            f"{location.origin} has no test split, and too few images to borrow one",
            expected="at least one class with two different images",
            hint="add test images",
        )
    images, labels = train.images[rows], train.labels[rows]
    identity = identify(location.name, "test", images, labels, train.identity.class_names)
    source = {**train.source, "borrowed": f"{len(rows)} of the training examples"}
    return DataSet(train, ImageData(images, labels, identity, source), flippable, rows)


def load_train(
    name: str, data: Path | None = None, *, tell: Notify | None = None, allow_download: bool = True
) -> ImageData:
    """Return the training split of a data set without reading the test split.

    Parameters
    ----------
    name, data, tell
        As for `load`.
    allow_download : bool
        Whether a known data set that is not on this machine is downloaded. If not,
        `DataNotFoundError` is raised.
    """
    return _train(locate(name, data, tell, allow_download=allow_download))


def _train(location: DataLocation) -> ImageData:
    split = location.layout.train()
    known = location.known
    if not len(split.labels):
        raise DataError(f"{location.origin} holds no training images")
    if known is not None:
        split = restore_official_order(_match_known_shape(split, known, location.origin), known)
    names = _class_names(location, split.labels)
    _check_labels(split.labels, len(names), f"{location.origin} (train)")
    return _image_data(location, "train", split, names)


def _test(location: DataLocation, split: Split, train: ImageData) -> ImageData:
    where = f"{location.origin} (test)"
    if not len(split.labels):
        raise DataError(f"{where} holds no images", hint="remove the empty test split, or fill it")
    height, width, channels = train.identity.shape
    if channels == 3 and split.images.shape[3] == 1:
        split = _grey_to_rgb(split)
    if split.images.shape[1:] != (height, width, channels):
        raise DataError(
            f"{where} does not have the image shape of the training split",
            expected=_describe_shape((height, width, channels)),
            got=_describe_shape(split.images.shape[1:]),
            hint="convert both splits to one size and colour",
        )
    _check_labels(split.labels, train.identity.classes, where)
    return _image_data(location, "test", split, train.identity.class_names)


def _image_data(
    location: DataLocation, split: str, read: Split, class_names: tuple[str, ...]
) -> ImageData:
    identity = identify(location.name, split, read.images, read.labels, class_names)
    source = {"layout": location.layout.kind, "location": location.origin}
    return ImageData(read.images, read.labels, identity, source)


def _grey_to_rgb(split: Split) -> Split:
    return Split(np.repeat(split.images, 3, axis=3), split.labels)


def _match_known_shape(split: Split, known: KnownDataSet, where: str) -> Split:
    """Return a split with the image shape of a known data set, or raise."""
    if known.shape[2] == 3 and split.images.shape[3] == 1:
        split = _grey_to_rgb(split)
    if split.images.shape[1:] != known.shape:
        raise DataError(
            f"{where} does not hold {known.title}",
            expected=_describe_shape(known.shape),
            got=_describe_shape(split.images.shape[1:]),
            hint="name the data set that this is, or give its path instead of a name",
        )
    return split


def _describe_shape(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"images of {width}×{height} in {'colour' if channels == 3 else 'grey'}"


def _class_names(location: DataLocation, labels: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Return the class names: of the known data set, from the files, or numbers."""
    known, file_names = location.known, location.layout.class_names
    present = np.unique(labels)
    if known is not None and file_names is None and len(present) != known.classes:
        raise DataError(
            f"{location.origin} does not hold {known.title}",
            expected=f"{known.classes} classes",
            got=f"{len(present):,} classes",
            hint="name the data set that this is, or give its path instead of a name",
        )
    names = (known.class_names if known is not None else None) or file_names
    if names is None:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        if present[0] >= 0 and gaps.size:
            raise DataError(
                f"{location.origin} has no example of class {gaps[0]} although it has class "
                f"{present[gaps[0]]}",
                expected="labels 0 to C-1, each used",
                hint="number the classes from 0 without gaps, or name them all (class_names)",
            )
        names = tuple(str(label) for label in range(len(present)))
    if len(names) < 2:
        raise DataError(
            f"{location.origin} holds a single class",
            expected="two classes or more",
            got=", ".join(names),
        )
    return names


def _check_labels(labels: npt.NDArray[np.int64], classes: int, where: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{len(wrong):,} labels of {where} are out of range",
            expected=f"0 to {classes - 1}",
            got=f"{labels[wrong[0]]} in row {wrong[0]}",
        )
