"""Prepare a network for attacks: cheaper ways to compute its logits, checked against it."""

from __future__ import annotations

import copy
from dataclasses import replace
from threading import Lock

import torch
from torch import Tensor, nn

from datacurate.attacks.acceleration.batchnorm_folding import fold_batchnorm, quick
from datacurate.attacks.acceleration.cuda_graphs import RecordedFunction
from datacurate.attacks.acceleration.input_gradients import explicit_input_gradients
from datacurate.attacks.acceleration.switches import Acceleration
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.precision import full_float32

ALL_ON = Acceleration()


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


def accelerate(
    network: nn.Module,
    sample: Tensor,
    dtype: torch.dtype,
    switches: Acceleration = ALL_ON,
) -> AttackedModel:
    """Return a network with the cheapest logits that the device offers.

    Parameters
    ----------
    network : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    sample : Tensor of float32, shape (B, C, H, W)
        Images on the network's device, with which copies of the network are checked.
    dtype : dtype
        Of the search: float32 or bfloat16.
    switches : Acceleration
        Which accelerations to use.

    Returns
    -------
    AttackedModel
    """
    on_cuda = sample.device.type == "cuda"
    prepare = _on_cuda if on_cuda else _on_cpu
    in_float32 = prepare(network, sample, switches)
    if dtype == torch.float32:
        return in_float32
    folded = fold_batchnorm(network, sample, dtype) if switches.batchnorm_folding else None
    search_logits = quick(network, folded, dtype)
    difference = float((search_logits(sample) - in_float32.float32_logits(sample)).abs().max())
    explicit = None
    if on_cuda:
        traceable = fold_batchnorm(network, sample, torch.float32) is not None
        if traceable and switches.cuda_graphs:
            search_logits = RecordedFunction(search_logits)
    elif folded is not None and switches.input_gradients:
        explicit = explicit_input_gradients(folded, sample)
    return replace(
        in_float32,
        search_logits=search_logits,
        explicit_gradients=explicit,
        rounding_error=2 * difference,
        float32=in_float32,
    )


def _on_cpu(network: nn.Module, sample: Tensor, switches: Acceleration) -> AttackedModel:
    folded = fold_batchnorm(network, sample, torch.float32) if switches.batchnorm_folding else None
    explicit = None
    if folded is not None and switches.input_gradients:
        explicit = explicit_input_gradients(folded, sample)
    logits = quick(network, folded, torch.float32)
    return replace(
        unaccelerated(network),
        search_logits=logits,
        float32_logits=logits,
        folded=folded,
        explicit_gradients=explicit,
        incremental_forward=switches.incremental_forward,
    )


def _on_cuda(network: nn.Module, sample: Tensor, switches: Acceleration) -> AttackedModel:
    if not switches.cuda_graphs or fold_batchnorm(network, sample, torch.float32) is None:
        return unaccelerated(network)
    # cuDNN's float32 kernels want channels first: https://github.com/pytorch/pytorch/issues/44943
    channels_first = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    recorded = RecordedFunction(quick(channels_first, None, torch.float32))
    return AttackedModel(recorded, recorded, recorded)
