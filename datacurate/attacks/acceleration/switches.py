"""Switches of the accelerations: each can be turned off, to measure what it brings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Acceleration:
    """Which accelerations an attack uses. They change its time, not its verdicts.

    Attributes
    ----------
    batchnorm_folding : bool
        Attack a copy with folded batch normalisation. `input_gradients` and
        `incremental_forward` need the copy and are off without it.
    input_gradients : bool
        Compute gradients layer by layer instead of with autograd.
    incremental_forward : bool
        Recompute only the receptive field of the changed pixels in Square.
    parallel : bool
        Attack the parts of a batch on several cores.
    cuda_graphs : bool
        Record forward and backward passes on CUDA and replay them.
    """

    batchnorm_folding: bool = True
    input_gradients: bool = True
    incremental_forward: bool = True
    parallel: bool = True
    cuda_graphs: bool = True
