"""Transfer attacks: adversarial examples for a surrogate, tried once on the model."""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.apgd import apgd
from datacurate.attacks.arguments import AttackArguments, random_start
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.losses import cross_entropy_loss
from datacurate.attacks.pgd_attack import signed_gradient_ascent
from datacurate.errors import UsageError


def transfer_pgd(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Try the last iterates of PGD on the surrogate, which starts from the images."""
    surrogate_batch = _surrogate_batch(batch, arguments)
    adversarial = signed_gradient_ascent(surrogate_batch, steps=arguments.steps)
    _try_once(batch, surrogate_batch, adversarial)


def transfer_apgd(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Try the best points of APGD on the surrogate's cross-entropy, from a random start."""
    surrogate_batch = _surrogate_batch(batch, arguments)
    start = random_start(surrogate_batch, arguments)
    adversarial = apgd(surrogate_batch, cross_entropy_loss, start, batch.y, steps=arguments.steps)
    _try_once(batch, surrogate_batch, adversarial)


def _surrogate_batch(batch: AttackBatch, arguments: AttackArguments) -> AttackBatch:
    """Return a batch of the same examples under attack on the surrogate, with every step."""
    if arguments.surrogate is None:
        raise UsageError("a transfer attack needs a surrogate", expected="a surrogate", got="none")
    return AttackBatch(arguments.surrogate, batch.x, batch.y, batch.radius, ignore_success=True)


def _try_once(batch: AttackBatch, surrogate_batch: AttackBatch, adversarial: Tensor) -> None:
    """Ask the model once about each example; it gives no gradients."""
    batch.steps += surrogate_batch.steps
    rows = batch.all_rows()
    batch.count_work(rows, forwards=1)
    batch.confirm(rows, adversarial, torch.ones_like(batch.broken))
