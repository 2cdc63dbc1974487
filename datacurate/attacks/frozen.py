"""Freeze a model while it is attacked, and restore it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put a model in eval mode without parameter gradients, and restore both exactly.

    In eval mode the attack does not depend on batch statistics and does not change the running
    statistics. The training flag of each module and ``requires_grad`` of each parameter are
    restored, also after an error. So a partly frozen model stays partly frozen.

    Parameters
    ----------
    model : Module

    Yields
    ------
    Module
        The same model.
    """
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in gradients:
            parameter.requires_grad_(requires_grad)


def device_of(model: nn.Module, x: Tensor) -> torch.device:
    """Return the device of a model's parameters, or that of `x` if it has no parameters."""
    return next((parameter.device for parameter in model.parameters()), x.device)
