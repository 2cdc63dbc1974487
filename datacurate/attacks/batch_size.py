"""How many examples the attacks take at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.acceleration.cuda_graphs import unfilled
from datacurate.attacks.attacked_model import AttackedModel

BATCH = 250
"""Examples in a batch on a CPU."""

_MOST = 2048  # on CUDA, where a small batch takes as long as a large one
_MEMORY_SHARE = 0.25  # the attacks keep a dozen more arrays as large as the images


def fitting(model: AttackedModel, sample: Tensor) -> int:
    """Return how many examples to attack at a time.

    On CUDA, a forward and a backward pass of the sample shows how much memory an example takes. The
    result depends on the total memory of the card, so that other users of the card do not change
    it.

    Parameters
    ----------
    model : AttackedModel
    sample : Tensor of float32, shape (N, C, H, W)
        On the model's device.

    Returns
    -------
    int
        At least 1.
    """
    if sample.device.type != "cuda":
        return BATCH
    torch.cuda.reset_peak_memory_stats(sample.device)
    before = torch.cuda.memory_allocated(sample.device)
    logits, backward = model.differentiable(sample)
    backward(logits)
    used = torch.cuda.max_memory_allocated(sample.device) - before
    memory = torch.cuda.get_device_properties(sample.device).total_memory
    return unfilled(min(_MOST, int(_MEMORY_SHARE * memory * len(sample) / max(1, used))))
