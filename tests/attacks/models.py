"""Linear models, whose worst case within a ball is known exactly."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Logits W x + b of flattened pixels."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.layer.weight.copy_(weight)
            self.layer.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def linear(classes: int, pixels: int, seed: int = 0) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    # Small, for far from a boundary float32 softmax is exactly 0 or 1 and its gradient nothing.
    weight = 0.1 * torch.randn(classes, pixels, generator=generator)
    # Centred, so that a grey image is on every boundary and the classes are about even.
    return Linear(weight, -weight.sum(dim=1) / 2)


def worst_margins(model: Linear, x: Tensor, y: Tensor, radius: float) -> np.ndarray:
    """Return the smallest margin over the other classes within ball and pixel range, (N,).

    The margin against one class is linear, so each pixel goes to whichever end of its own interval
    lowers it.
    """
    weight = model.layer.weight.detach().double().numpy()
    bias = model.layer.bias.detach().double().numpy()
    flat = x.flatten(1).double().numpy()
    low, high = np.maximum(flat - radius, 0), np.minimum(flat + radius, 1)
    margins = np.full(len(flat), np.inf)
    for other in range(len(weight)):
        against = weight[y.numpy()] - weight[other]
        reached = np.where(against > 0, against * low, against * high).sum(axis=1)
        margin = reached + bias[y.numpy()] - bias[other]
        margins = np.where(y.numpy() == other, margins, np.minimum(margins, margin))
    return margins


class Normed(nn.Module):
    """A small network with batch statistics and dropout: everything an attack could disturb."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten()
        )
        self.head = nn.Linear(4 * 36, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def clear_images(
    model: nn.Module, count: int, channels: int = 1, size: int = 8, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """Return random images with the labels that a model gives them."""
    x = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return x, model.eval()(x).argmax(dim=1)
