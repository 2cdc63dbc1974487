"""A data set in memory: one uint8 array of images, labels, and the identity of both."""

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
        Of exactly these images and labels.
    source : mapping of str to str
        Where they came from: ``layout`` (such as ``"cifar-python"``) and ``location``.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    identity: Identity
    source: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def stated_source(self) -> dict[str, str]:
        """The source as files that travel state it: of a path on this machine its last part."""
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
        Whether a mirror image means the same (not so for digits).
    borrowed : ndarray of int64, shape (M,)
        Rows of `train` that serve as test examples because the data has no test split of its own,
        ascending; empty otherwise. They are never trained on and never ranked, but keep their row
        numbers, so that row 17 is example 17 of the user's own file.
    """

    train: ImageData
    test: ImageData
    flippable: bool
    borrowed: npt.NDArray[np.int64]

    @property
    def trainable(self) -> npt.NDArray[np.int64]:
        """The rows of `train` that may be trained on, ascending."""
        return np.setdiff1d(np.arange(len(self.train)), self.borrowed)
