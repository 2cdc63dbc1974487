"""How many examples a search takes at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.acceleration.cuda_graphs import unfilled
from datacurate.attacks.attacked_model import AttackedModel

BATCH = 250
"""Examples in a batch where nothing else is known."""

_MOST = 2048  # on CUDA, where a batch of few takes as long as one of many
_SHARE = 0.25  # of the memory: the searches keep a dozen more arrays of the size of the images


def fitting(attacked: AttackedModel, sample: Tensor) -> int:
    """Return how many examples are searched for at a time.

    Parameters
    ----------
    attacked : AttackedModel
    sample : Tensor of float32, shape (N, C, H, W)
        On the model's device. On CUDA a forward and a backward pass of them tells how much memory
        an example takes; the answer follows from the whole memory of the card, so that it does not
        depend on who else uses it.
    """
    if sample.device.type != "cuda":
        return BATCH
    torch.cuda.reset_peak_memory_stats(sample.device)
    before = torch.cuda.memory_allocated(sample.device)
    logits, backward = attacked.differentiable(sample)
    backward(logits)
    taken = torch.cuda.max_memory_allocated(sample.device) - before
    memory = torch.cuda.get_device_properties(sample.device).total_memory
    return unfilled(min(_MOST, int(_SHARE * memory * len(sample) / max(1, taken))))
