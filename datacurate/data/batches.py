"""Batches from one uint8 tensor: order, crop and flip are functions of (seed, epoch, example).

A batch is one gather, so no worker processes are needed. Every random choice is keyed. An epoch
can therefore be repeated from its number alone, and an interrupted training continues exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from datacurate.fingerprints import mix64, seed64
from datacurate.recipes import Augmentation

UNCHANGED = Augmentation(padding=0, flip=False)
"""No crop and no flip."""


def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return a permutation of `count` rows: the order in which an epoch visits the examples.

    Parameters
    ----------
    count : int
    seed, epoch : int
        The same pair gives the same order.

    Returns
    -------
    ndarray of int64, shape (count,)
    """
    generator = torch.Generator().manual_seed(seed64("order", seed, epoch))
    return torch.randperm(count, generator=generator).numpy()


def as_pixels(images: Tensor) -> Tensor:
    """Return images as float32 pixels in [0, 1], channels last in memory.

    Parameters
    ----------
    images : Tensor of uint8, shape (B, H, W, C)

    Returns
    -------
    Tensor of float32, shape (B, C, H, W)
    """
    return images.permute(0, 3, 1, 2).float().div_(255.0)


def augment_batch(
    images: Tensor,
    rows: npt.NDArray[np.int64],
    augmentation: Augmentation,
    seed: int,
    epoch: int,
) -> Tensor:
    """Return a training batch with random crops and flips.

    Parameters
    ----------
    images : Tensor of uint8, shape (N, H, W, C)
        The whole data set.
    rows : ndarray of int64, shape (B,)
        The examples of the batch. The crop and flip of an example depend on its row, not on its
        position in the batch.
    augmentation : Augmentation
        Resolved: `padding` and `flip` are not None.
    seed, epoch : int

    Returns
    -------
    Tensor of float32, shape (B, C, H, W)
    """
    _, height, width, _ = images.shape
    padding = augmentation.padding or 0
    random_bits = mix64(seed64("augment", seed, epoch), rows.astype(np.uint64))
    offsets = np.uint64(2 * padding + 1)
    top = (random_bits % offsets).astype(np.int64)
    left = ((random_bits >> np.uint64(20)) % offsets).astype(np.int64)
    flip = ((random_bits >> np.uint64(40)) & np.uint64(1)).astype(bool) & bool(augmentation.flip)

    forward = np.arange(width)
    columns = np.where(flip[:, None], forward[::-1], forward) + left[:, None]
    lines = np.arange(height) + top[:, None]
    device = images.device
    batch = images[torch.from_numpy(rows).to(device)]
    batch = functional.pad(batch, (0, 0, padding, padding, padding, padding))
    examples = torch.arange(len(rows), device=device)[:, None, None]
    crops = batch[
        examples,
        torch.from_numpy(lines).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]
    return as_pixels(crops)
