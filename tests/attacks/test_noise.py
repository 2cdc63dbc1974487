from __future__ import annotations

import numpy as np
import torch

from datacurate.attacks.noise import keyed_uniform


def test_depends_on_seed_and_key_alone() -> None:
    keys = np.array([5, 17, 2**63], dtype=np.uint64)
    noise = keyed_uniform(3, keys, 100)
    assert torch.equal(noise[1:2], keyed_uniform(3, keys[1:2], 100))
    assert torch.equal(noise[:, :10], keyed_uniform(3, keys, 10))
    assert not torch.equal(noise, keyed_uniform(4, keys, 100))
    assert not torch.equal(noise[0], noise[1])


def test_is_uniform_and_uncorrelated() -> None:
    noise = keyed_uniform(0, np.arange(200, dtype=np.uint64), 500).double()
    assert noise.min() >= 0
    assert noise.max() < 1
    assert abs(noise.mean() - 0.5) < 5 * (1 / 12 / noise.numel()) ** 0.5
    counts = torch.histc(noise, bins=20, min=0, max=1)
    # The statistic of 19 degrees of freedom exceeds 44 once in a thousand times.
    assert ((counts - 5000) ** 2 / 5000).sum() < 44
    centred = noise - 0.5
    for shifted in (centred[:-1] * centred[1:], centred[:, :-1] * centred[:, 1:]):
        assert abs(shifted.mean()) < 5 / 12 / shifted.numel() ** 0.5
