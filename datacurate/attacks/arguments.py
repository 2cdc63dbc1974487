"""What every attack takes beside its batch, and two helpers that several attacks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.noise import keyed_uniform
from datacurate.fingerprints import U64


@dataclass(frozen=True)
class AttackArguments:
    """Arguments of one call of an attack.

    Attributes
    ----------
    steps : int
        Iterations or queries for each example.
    keys : ndarray of uint64, shape (E,)
        One for each example of the batch: random starts depend on seed and key alone.
    seeds : tuple of int
        One for each run of the batch.
    targets : tuple of int
        For each run, the rank of the target class among an example's logits: 1 is the runner-up.
        0 for an attack without a target.
    queries_per_pass : int
        If the batch has fewer examples, Square fills a forward pass with up to this many queries.
    surrogate : AttackedModel, optional
        The model that transfer attacks attack first.
    """

    steps: int
    keys: U64
    seeds: tuple[int, ...] = (0,)
    targets: tuple[int, ...] = (0,)
    queries_per_pass: int = 1
    surrogate: AttackedModel | None = None


AttackFunction = Callable[[AttackBatch, AttackArguments], None]
"""Runs an attack on a batch: fills in its candidates, its broken examples and its counts."""


def random_start(batch: AttackBatch, arguments: AttackArguments) -> Tensor:
    """Return a random point on the surface of each row's ball, clipped to the pixel range.

    Parameters
    ----------
    batch : AttackBatch
    arguments : AttackArguments
        With a seed for each run.

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
    """
    size = math.prod(batch.x.shape[1:])
    noise = torch.cat([keyed_uniform(seed, arguments.keys, size) for seed in arguments.seeds])
    noise = 2 * noise - 1
    noise /= noise.abs().amax(dim=1, keepdim=True)
    start = batch.x + batch.radius * noise.view(batch.x.shape).to(batch.x.device)
    return torch.clamp(start, batch.lower, batch.upper)


def target_classes(batch: AttackBatch, arguments: AttackArguments) -> Tensor:
    """Return the target class of each row, from the logits of the unperturbed examples.

    This is counted as one forward pass.

    Parameters
    ----------
    batch : AttackBatch
    arguments : AttackArguments
        With a target rank for each run.

    Returns
    -------
    Tensor of int64, shape (N,)
    """
    order = batch.model.float32_logits(batch.x[: batch.examples]).argsort(dim=1)
    batch.count_work(batch.all_rows(), forwards=1)
    return torch.cat([order[:, -1 - rank] for rank in arguments.targets])
