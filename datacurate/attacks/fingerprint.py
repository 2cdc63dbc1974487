"""The fingerprint of a run of a suite, which must match before a saved state is used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from datacurate.fingerprints import U64, columns_sha256, configuration_hash


def attack_fingerprint(
    networks: Sequence[nn.Module], x: Tensor, y: Tensor, keys: U64, settings: Sequence[object]
) -> str:
    """Return a hash of everything that the outcome of a suite depends on.

    Parameters
    ----------
    networks : sequence of Module
        The model, and the surrogate if there is one.
    x : Tensor of float32, shape (N, C, H, W)
    y : Tensor of int64, shape (N,)
    keys : ndarray of uint64, shape (N,)
        What each example's noise depends on.
    settings : sequence
        Values that JSON can hold.

    Returns
    -------
    str
        16 hex digits.
    """
    weights = {
        f"{role}.{name}": tensor
        for role, network in zip(("model", "surrogate"), networks, strict=False)
        for name, tensor in network.state_dict().items()
    }
    tensors = {"x": x, "y": y, **weights}
    columns = {
        # numpy has no bfloat16; float32 holds its values exactly.
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
        for name, tensor in tensors.items()
    }
    data = columns_sha256({"keys": keys, **columns})
    return configuration_hash([data, *settings])
