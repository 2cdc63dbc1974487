"""Batches from one uint8 tensor: order, crop and flip are functions of (seed, epoch, example).

No worker processes: a batch is one gather. Because every random choice is keyed, an epoch can be
repeated from its number alone, which is what makes an interrupted training continue exactly.
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
    """Return the order in which `count` examples are visited: each exactly once."""
    generator = torch.Generator().manual_seed(seed64("order", seed, epoch))
    return torch.randperm(count, generator=generator).numpy()


def as_pixels(images: Tensor) -> Tensor:
    """Return float32 pixels in [0, 1] of shape (B, C, H, W), channels last in memory.

    Parameters
    ----------
    images : Tensor of uint8, shape (B, H, W, C)
    """
    return images.permute(0, 3, 1, 2).float().div_(255.0)


def augmented(
    images: Tensor,
    rows: npt.NDArray[np.int64],
    augmentation: Augmentation,
    seed: int,
    epoch: int,
) -> Tensor:
    """Return a training batch, cropped and flipped at random.

    Parameters
    ----------
    images : Tensor of uint8, shape (N, H, W, C)
        The whole data set.
    rows : ndarray of int64, shape (B,)
        Which examples; each example's crop and flip depend on its row, not on its place in the
        batch.
    augmentation : Augmentation
        With its `padding` and `flip` decided.
    seed, epoch : int

    Returns
    -------
    Tensor of float32, shape (B, C, H, W)
    """
    _, height, width, _ = images.shape
    padding = augmentation.padding or 0
    dice = mix64(seed64("augment", seed, epoch), rows.astype(np.uint64))
    places = np.uint64(2 * padding + 1)
    top = (dice % places).astype(np.int64)
    left = ((dice >> np.uint64(20)) % places).astype(np.int64)
    flip = ((dice >> np.uint64(40)) & np.uint64(1)).astype(bool) & bool(augmentation.flip)

    across = np.arange(width)
    columns = np.where(flip[:, None], across[::-1], across) + left[:, None]
    lines = np.arange(height) + top[:, None]
    device = images.device
    batch = images[torch.from_numpy(rows).to(device)]
    batch = functional.pad(batch, (0, 0, padding, padding, padding, padding))
    which = torch.arange(len(rows), device=device)[:, None, None]
    picked = batch[
        which,
        torch.from_numpy(lines).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]
    return as_pixels(picked)
