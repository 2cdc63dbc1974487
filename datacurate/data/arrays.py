"""Read data sets stored as arrays in one ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.data.layouts import Layout, Split
from datacurate.errors import DataError

_CONTENT = (
    "images (N, H, W, C) or (N, H, W) uint8 and labels (N,) integers; "
    "optional test_images, test_labels, class_names"
)


def recognise_arrays(path: Path) -> Layout | None:
    """Return the layout of an ``.npz`` file, or of a directory that holds exactly one, or None.

    Raises
    ------
    DataError
        If the file cannot be read or lacks an array.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        return recognise_arrays(files[0]) if len(files) == 1 else None
    if path.suffix != ".npz":
        return None
    names = _names(path)
    if not {"images", "labels"} <= names or ("test_images" in names) != ("test_labels" in names):
        raise DataError(
            f"{path} does not hold a data set", expected=_CONTENT, got=", ".join(sorted(names))
        )
    return Layout(
        kind="npz",
        location=path,
        train=lambda: _split(path, ""),
        test=(lambda: _split(path, "test_")) if "test_images" in names else None,
        class_names=_class_names(path) if "class_names" in names else None,
    )


def _names(path: Path) -> set[str]:
    if not zipfile.is_zipfile(path):  # numpy would read it as a single array or as a pickle
        raise DataError(f"{path} is not an .npz file, or is truncated", expected=_CONTENT)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except _UNREADABLE as error:
        raise _damage_error(path, error) from error


def _array(path: Path, name: str) -> npt.NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            value = archive[name]
    except _UNREADABLE as error:
        raise _damage_error(path, error, name) from error
    if not isinstance(value, np.ndarray):  # numpy returns members that are not .npy files as bytes
        raise DataError(f"{name} in {path} is not an array", expected=_CONTENT)
    return value


def _split(path: Path, prefix: str) -> Split:
    images, labels = _array(path, f"{prefix}images"), _array(path, f"{prefix}labels")
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"{prefix}images in {path} are not 8-bit images",
            expected="uint8 of shape (N, H, W, 3), (N, H, W, 1) or (N, H, W)",
            got=f"{images.dtype} of shape {images.shape}",
            hint=_image_hint(images),
        )
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{prefix}labels in {path} are not class numbers",
            expected="integers of shape (N,)",
            got=f"{labels.dtype} of shape {labels.shape}",
            hint="number the classes 0, 1, … and save them as int64",
        )
    if len(images) != len(labels):
        raise DataError(
            f"{path} does not have one label for each image",
            expected=f"{len(images):,} {prefix}labels",
            got=f"{len(labels):,}",
        )
    if labels.size and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{prefix}labels in {path} are out of range", got=str(labels.max()))
    return Split(np.ascontiguousarray(images), labels.astype(np.int64))


def _image_hint(images: npt.NDArray[Any]) -> str:
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return "put the channels last: images.transpose(0, 2, 3, 1)"
    return "store pixels 0 to 255 as uint8"


def _class_names(path: Path) -> tuple[str, ...]:
    names = _array(path, "class_names")
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"class_names in {path} are not names",
            expected="text of shape (C,)",
            got=f"{names.dtype} of shape {names.shape}",
        )
    return tuple(str(name) for name in names)


# Errors that numpy raises for a damaged, hostile or truncated file.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    SyntaxError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def _damage_error(path: Path, error: Exception, name: str | None = None) -> DataError:
    if "allow_pickle" in str(error):
        return DataError(
            f"{name or 'an array'} in {path} holds Python objects; datacurate never loads them",
            expected=_CONTENT,
        )
    what = f"{name} in {path}" if name else str(path)
    return DataError(f"{what} cannot be read: {str(error) or type(error).__name__}")
