"""A data set in memory: images as one uint8 array, labels, and the identity of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datacurate.identity import Identity


@dataclass(frozen=True)
class ImageData:
    """One split of a data set, in its canonical order.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    identity : Identity
        Identity of these images and labels.
    source : mapping of str to str
        Origin of the data: ``layout`` (such as ``"cifar-python"``) and ``location``.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    identity: Identity
    source: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def stated_source(self) -> dict[str, str]:
        """The source as written to files: a local path is reduced to its last part."""
        location = self.source["location"]
        return {
            **self.source,
            "location": location if "://" in location else Path(location).name,
        }


@dataclass(frozen=True)
class DataSet:
    """The two splits of a data set.

    Attributes
    ----------
    train, test : ImageData
    flippable : bool
        Whether a mirrored image keeps its class; false for digits.
    borrowed : ndarray of int64, shape (M,)
        Rows of `train` that serve as test examples because the data has no test split, ascending;
        empty otherwise. They are never trained on and never ranked. They keep their row numbers,
        so row 17 stays example 17 of the user's file.
    """

    train: ImageData
    test: ImageData
    flippable: bool
    borrowed: npt.NDArray[np.int64]

    @property
    def trainable(self) -> npt.NDArray[np.int64]:
        """Rows of `train` that are used for training, ascending, shape (N - M,)."""
        return np.setdiff1d(np.arange(len(self.train)), self.borrowed)
