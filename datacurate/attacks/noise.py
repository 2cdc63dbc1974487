"""Noise that depends on the example, not on its place in a batch.

If the noise came from a generator, an example's noise would depend on the examples attacked before
it, and a result could not be reproduced on fewer examples. So the noise is a hash of the seed, the
example's key and the position in the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from datacurate.fingerprints import U64, mix64


def keyed_uniform(seed: int, keys: U64, size: int) -> Tensor:
    """Return uniform random numbers that depend only on a seed and each example's key.

    Parameters
    ----------
    seed : int
        63 bits, as from `datacurate.fingerprints.seed64`.
    keys : ndarray of uint64, shape (N,)
        One key for each example, such as its content hash.
    size : int
        How many numbers for each example.

    Returns
    -------
    Tensor of float32, shape (N, size), on the CPU
        In [0, 1), in steps of 2⁻²⁴.
    """
    bits = mix64(seed, keys[:, None], np.arange(size, dtype=np.uint64)[None, :])
    return torch.from_numpy((bits >> np.uint64(40)).astype(np.float32)).mul_(2.0**-24)
