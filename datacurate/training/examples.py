"""The data of a training, and its initial network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from datacurate.nets import build
from datacurate.recipes import Training


@dataclass(frozen=True)
class TrainingData:
    """The data of a training.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    rows : ndarray of int64, shape (M,)
        Rows of the training examples, ascending.
    selection_images, selection_labels : ndarray
        Examples that choose the best checkpoint, as `images` and `labels`.
    classes : int
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    selection_images: npt.NDArray[np.uint8]
    selection_labels: npt.NDArray[np.int64]
    classes: int


def pixel_statistics(
    images: npt.NDArray[np.uint8],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of pixels in [0, 1], from integer sums."""
    levels = np.stack(
        [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[3])]
    )
    values = np.arange(256) / 255
    mean = (levels * values).sum(axis=1) / levels.sum(axis=1)
    variance = (levels * (values - mean[:, None]) ** 2).sum(axis=1) / levels.sum(axis=1)
    # A constant channel has no information; dividing by 1 keeps it finite.
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def initial_network(training: Training, data: TrainingData, seed: int) -> nn.Module:
    """Return the initial network of a training on this data."""
    mean, std = pixel_statistics(data.images)
    return build(training.model, data.classes, data.images.shape[3], mean, std, seed)
