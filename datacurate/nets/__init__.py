"""Networks: one family a module, and the one table of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from datacurate.errors import UnknownNameError
from datacurate.fingerprints import seed64
from datacurate.nets.normalization import Normalize
from datacurate.nets.preact import PreActResNet
from datacurate.recipes import Model

Builder = Callable[[int, int, Normalize, int], nn.Module]
"""Makes a network from its width, the number of classes, the normalisation and the channels."""

NETWORKS: Mapping[str, tuple[int, Builder]] = {
    # name: (its own width, builder)
    "preact-resnet18": (64, partial(PreActResNet, (2, 2, 2, 2))),
    "preact-small": (16, partial(PreActResNet, (1, 1, 1, 1))),
}


def check_name(model: Model) -> None:
    """Raise `UnknownNameError` unless the network is in the table."""
    if model.name not in NETWORKS:
        raise UnknownNameError("network", model.name, NETWORKS)


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
        Of the pixels in [0, 1]; part of the network.
    seed : int
        Decides the weights; torch's global generator is left as it was.

    Raises
    ------
    UnknownNameError
    """
    check_name(model)
    own_width, builder = NETWORKS[model.name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed64("weights", seed))
        net = builder(model.width or own_width, classes, Normalize(mean, std), channels)
    return net.to(memory_format=torch.channels_last)
