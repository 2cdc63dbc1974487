"""Compute in full float32 where it is decided whether an example is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32 without autocast, and on CUDA without TensorFloat-32.

    TensorFloat-32 keeps ten bits of the mantissa, which changes logits enough to change a close
    decision.

    Parameters
    ----------
    device : device
        Where the model computes.
    """
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.backends.cuda.matmul.allow_tf32
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        try:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = convolutions
            torch.backends.cuda.matmul.allow_tf32 = products
