"""Networks: one family a module, and the one table of their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from datacurate.errors import RecipeError, UnknownNameError
from datacurate.fingerprints import seed64
from datacurate.nets.normalization import Normalize
from datacurate.nets.preact import PreActResNet
from datacurate.nets.small_cnn import SmallCNN
from datacurate.nets.vgg import VGG, VGG11, VGG13, VGG16
from datacurate.recipes import Model

Builder = Callable[[int, int, Normalize, int], nn.Module]
"""Builds a network from width, number of classes, normalisation and channels."""

NETWORKS: Mapping[str, tuple[int, Builder]] = {
    # name: (default width, builder)
    "preact-resnet18": (64, partial(PreActResNet, (2, 2, 2, 2))),
    "preact-small": (16, partial(PreActResNet, (1, 1, 1, 1))),
    "preact-patch": (32, partial(PreActResNet, (1, 1, 1, 1), patch=2)),
    "cnn-small": (16, SmallCNN),
    "vgg11-bn": (64, partial(VGG, VGG11)),
    "vgg13-bn": (64, partial(VGG, VGG13)),
    "vgg16-bn": (64, partial(VGG, VGG16)),
}
"""The networks of fixed depth; ``wrn-DEPTH-WIDENING`` names a wide ResNet."""

_WIDE = re.compile(r"wrn-([0-9]+)-([0-9]+)")
_WIDE_EXAMPLES = ("wrn-16-10", "wrn-28-10", "wrn-34-10")


def network(name: str) -> tuple[int, Builder]:
    """Return the default width of a network and its builder.

    Parameters
    ----------
    name : str
        A name of `NETWORKS`, or ``wrn-d-k``: depth d of 6n + 4 layers, k times as wide as a ResNet.

    Raises
    ------
    UnknownNameError, RecipeError
        If there is no such network, or no wide ResNet of that depth.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    wide = _WIDE.fullmatch(name)
    if wide is None:
        raise UnknownNameError("network", name, [*NETWORKS, *_WIDE_EXAMPLES])
    depth, widening = int(wide[1]), int(wide[2])
    if depth < 10 or depth % 6 != 4 or widening < 1:
        raise RecipeError(
            f"there is no wide ResNet {name}",
            expected="wrn-d-k with d = 10, 16, 22, 28, 34, ... and k of 1 or more",
            hint="wrn-28-10",
        )
    return 16, partial(PreActResNet, ((depth - 4) // 6,) * 3, widening=widening)


def check_name(model: Model) -> None:
    """Raise `UnknownNameError` or `RecipeError` unless there is such a network."""
    network(model.name)


def build(
    model: Model,
    classes: int,
    channels: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    seed: int,
) -> nn.Module:
    """Return a network with random initial weights, in channels-last layout, on the CPU.

    Parameters
    ----------
    model : Model
    classes, channels : int
    mean, std : tuple of float, length `channels`
        Statistics of the pixels in [0, 1]; part of the network.
    seed : int
        Decides the weights. torch's global generator does not change.

    Raises
    ------
    UnknownNameError, RecipeError
    """
    own_width, builder = network(model.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed64("weights", seed))
        net = builder(model.width or own_width, classes, Normalize(mean, std), channels)
    return net.to(memory_format=torch.channels_last)
