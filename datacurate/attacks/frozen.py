"""Hold a model still while it is attacked, and leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put a model in eval mode without parameter gradients, and restore both exactly.

    Eval mode keeps batch statistics out of the attack and the running statistics untouched. Each
    module's own training flag and each parameter's own ``requires_grad`` come back, also after an
    error, so a model that was partly frozen stays so.

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
    """Return where a model computes: its parameters' device, or that of `x` if it has none."""
    return next((parameter.device for parameter in model.parameters()), x.device)
