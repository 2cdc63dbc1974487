"""Noise that belongs to an example, not to its place in a batch.

Drawn from a stream, an example's noise would change with every example attacked before it, and a
result could not be repeated on fewer examples. Here it is a hash of the seed, the example's key and
the position in the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from datacurate.fingerprints import U64, mix64


def keyed_uniform(seed: int, keys: U64, size: int) -> Tensor:
    """Return uniform numbers that depend on a seed and each example's key alone.

    Parameters
    ----------
    seed : int
        63 bits, as from `datacurate.fingerprints.seed64`.
    keys : ndarray of uint64, shape (N,)
        One key an example, such as its content hash.
    size : int
        Numbers an example.

    Returns
    -------
    Tensor of float32, shape (N, size), on the CPU
        In [0, 1), in steps of 2⁻²⁴.
    """
    words = mix64(seed, keys[:, None], np.arange(size, dtype=np.uint64)[None, :])
    return torch.from_numpy((words >> np.uint64(40)).astype(np.float32)).mul_(2.0**-24)
