"""What a training sees, and the network it starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from datacurate.nets import build
from datacurate.recipes import Training


@dataclass(frozen=True)
class TrainingData:
    """What a training sees.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    rows : ndarray of int64, shape (M,)
        The examples trained on, ascending.
    selection_images, selection_labels : ndarray
        The examples on which the robust-best checkpoint is chosen, as `images` and `labels`.
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
    """Return mean and deviation per channel of pixels in [0, 1], from exact integer sums."""
    levels = np.stack(
        [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[3])]
    )
    values = np.arange(256) / 255
    mean = (levels * values).sum(axis=1) / levels.sum(axis=1)
    variance = (levels * (values - mean[:, None]) ** 2).sum(axis=1) / levels.sum(axis=1)
    # A constant channel carries nothing; dividing by 1 keeps it finite.
    std = np.where(variance > 0, np.sqrt(variance), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def initial_network(training: Training, data: TrainingData, seed: int) -> nn.Module:
    """Return the network that a training of this data starts from."""
    mean, std = pixel_statistics(data.images)
    return build(training.model, data.classes, data.images.shape[3], mean, std, seed)
