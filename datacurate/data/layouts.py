"""The layout of a data set: where the data is and how to read its splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """One split, in the order that its layout defines.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        C is 1 if every image is greyscale, otherwise 3.
    labels : ndarray of int64, shape (N,)
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """A data set recognised at a path; no image has been read yet.

    Attributes
    ----------
    kind : str
        Such as ``"cifar-python"``.
    location : Path
    train : callable
        Reads the training split.
    test : callable or None
        Reads the test split; None if there is none.
    class_names : tuple of str or None
        None if the files do not name their classes.
    known_as : str or None
        The name of the known data set that this layout belongs to, if it belongs to one only.
    train_files, test_files : callable or None
        Return the image files of a split in the order of its examples: each path, and its name
        below the folder of its class. None if the images are not separate files.
    """

    kind: str
    location: Path
    train: Callable[[], Split]
    test: Callable[[], Split] | None
    class_names: tuple[str, ...] | None
    known_as: str | None = None
    train_files: Callable[[], list[tuple[Path, str]]] | None = None
    test_files: Callable[[], list[tuple[Path, str]]] | None = None
