"""Prepare a network for attacks: cheaper ways to compute its logits, checked against it."""

from __future__ import annotations

import copy
from dataclasses import replace
from threading import Lock

import torch
from torch import Tensor, nn

from datacurate.attacks.acceleration.batchnorm_folding import fused, quick
from datacurate.attacks.acceleration.cuda_graphs import Replayed
from datacurate.attacks.acceleration.input_gradients import differentiable
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.precision import full_float32


def unaccelerated(network: nn.Module) -> AttackedModel:
    """Return a network that always computes its logits itself, in float32.

    Parameters
    ----------
    network : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).

    Returns
    -------
    AttackedModel
        One thread at a time may use it.
    """
    lock = Lock()

    def exact(pixels: Tensor) -> Tensor:
        with lock, full_float32(pixels.device):
            logits: Tensor = network(pixels)
        return logits.float()

    return AttackedModel(exact, exact, exact)


def accelerate(network: nn.Module, sample: Tensor, dtype: torch.dtype) -> AttackedModel:
    """Return a network with the cheapest logits that the device offers.

    Parameters
    ----------
    network : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    sample : Tensor of float32, shape (B, C, H, W)
        Images on the network's device, with which copies of the network are checked.
    dtype : dtype
        Of the search: float32 or bfloat16.

    Returns
    -------
    AttackedModel
    """
    on_cuda = sample.device.type == "cuda"
    in_float32 = _on_cuda(network, sample) if on_cuda else _on_cpu(network, sample)
    if dtype == torch.float32:
        return in_float32
    folded = fused(network, sample, dtype)
    search_logits = quick(network, folded, dtype)
    difference = float((search_logits(sample) - in_float32.float32_logits(sample)).abs().max())
    explicit = None
    if on_cuda:
        traceable = fused(network, sample, torch.float32) is not None
        search_logits = Replayed(search_logits) if traceable else search_logits
    elif folded is not None:
        explicit = differentiable(folded, sample)
    return replace(
        in_float32,
        search_logits=search_logits,
        explicit_gradients=explicit,
        rounding_error=2 * difference,
        float32=in_float32,
    )


def _on_cpu(network: nn.Module, sample: Tensor) -> AttackedModel:
    folded = fused(network, sample, torch.float32)
    logits = quick(network, folded, torch.float32)
    return replace(
        unaccelerated(network),
        search_logits=logits,
        float32_logits=logits,
        folded=folded,
        explicit_gradients=None if folded is None else differentiable(folded, sample),
    )


def _on_cuda(network: nn.Module, sample: Tensor) -> AttackedModel:
    if fused(network, sample, torch.float32) is None:
        return unaccelerated(network)
    # cuDNN's float32 kernels want channels first: https://github.com/pytorch/pytorch/issues/44943
    channels_first = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    recorded = Replayed(quick(channels_first, None, torch.float32))
    return AttackedModel(recorded, recorded, recorded)
