"""Models for the tests of attacks; the worst case of a linear model within a ball is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel


class Linear(nn.Module):
    """Logits W x + b of flattened pixels."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.layer.weight.copy_(weight)
            self.layer.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


def linear(classes: int, pixels: int, seed: int = 0) -> Linear:
    """Return a random linear model with about equally frequent classes."""
    generator = torch.Generator().manual_seed(seed)
    # Small weights: far from a boundary, the float32 softmax is exactly 0 or 1, and its gradient 0.
    weight = 0.1 * torch.randn(classes, pixels, generator=generator)
    # A grey image lies on every boundary, so that the classes are about equally frequent.
    return Linear(weight, -weight.sum(dim=1) / 2)


def coarse_linear(classes: int, pixels: int) -> Linear:
    """Return a linear model with weights of few bits, whose sums are exact in any order."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (classes, pixels), generator=generator) / 8
    model = Linear(weight, -weight.sum(dim=1) / 2)
    model.requires_grad_(False)
    return model


def worst_margins(model: Linear, x: Tensor, y: Tensor, radius: float) -> npt.NDArray[np.float64]:
    """Return the smallest margin over the other classes within ball and pixel range, (N,).

    The margin against one class is linear, so each pixel goes to the end of its own interval that
    lowers it.
    """
    weight = model.layer.weight.detach().double().numpy()
    bias = model.layer.bias.detach().double().numpy()
    flat = x.flatten(1).double().numpy()
    low, high = np.maximum(flat - radius, 0), np.minimum(flat + radius, 1)
    margins = np.full(len(flat), np.inf)
    for other in range(len(weight)):
        difference = weight[y.numpy()] - weight[other]
        reached = np.where(difference > 0, difference * low, difference * high).sum(axis=1)
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
        logits: Tensor = self.head(self.body(x))
        return logits


class Quantised(nn.Module):
    """A linear model of quantised pixels: its gradients are zero almost everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear(4, 64)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(torch.round(x * 16) / 16)
        return logits


def clear_images(
    model: nn.Module, count: int, channels: int = 1, size: int = 8, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """Return random images with the labels that a model gives them."""
    x = torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return x, model.eval()(x).argmax(dim=1)


def plain(model: nn.Module) -> AttackedModel:
    """Return a model under attack without any acceleration."""
    return AttackedModel(model, model, model)


def batch_of(model: nn.Module, count: int, radius: float) -> AttackBatch:
    """Return a batch of random images that a model classifies correctly."""
    model.requires_grad_(False)
    x, y = clear_images(model, count)
    return AttackBatch(plain(model), x, y, radius)
