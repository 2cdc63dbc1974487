"""Blocks that several networks are built of."""

from __future__ import annotations

from torch import nn


def convolution_block(entering: int, leaving: int, stride: int) -> list[nn.Module]:
    """Return a 3×3 convolution without bias, with batch normalisation and ReLU."""
    return [
        nn.Conv2d(entering, leaving, 3, stride, 1, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    ]
