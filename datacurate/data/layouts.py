"""What a recogniser of a layout hands back: where the data lies and how to read its splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Split:
    """One split as read, in the order its layout defines.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        C is 1 where every image is greyscale, else 3.
    labels : ndarray of int64, shape (N,)
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """A data set recognised at some place, of which no image has been read yet.

    Attributes
    ----------
    kind : str
        Such as ``"cifar-python"``.
    location : Path
    train : callable
        Reads the training split.
    test : callable or None
        Reads the test split; None where there is none.
    class_names : tuple of str or None
        None where the files do not name their classes.
    known_as : str or None
        The one known data set that such files can hold, if the layout says so.
    train_files, test_files : callable or None
        Return the image files of a split in the order of its examples: each file, and its name
        below the folder of its class. None where images are no files of their own.
    """

    kind: str
    location: Path
    train: Callable[[], Split]
    test: Callable[[], Split] | None
    class_names: tuple[str, ...] | None
    known_as: str | None = None
    train_files: Callable[[], list[tuple[Path, str]]] | None = None
    test_files: Callable[[], list[tuple[Path, str]]] | None = None
