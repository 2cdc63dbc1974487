"""Normalisation of pixels inside the network, so that every attack sees pixels in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation per channel.

    Parameters
    ----------
    mean, std : sequence of float, length C
        Statistics of pixels in [0, 1]. They are saved with the weights, so a checkpoint is
        complete.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised images of the shape of `x`, (B, C, H, W)."""
        return (x - self.mean) / self.std
