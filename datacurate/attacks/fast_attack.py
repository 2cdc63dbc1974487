"""Two short attacks that stand in for AutoAttack's long ones.

AutoAttack gives each of nine target classes the same hundred steps. Nearly everything that it finds
lies towards the class whose margin shrinks fastest. So `nearest_attack` takes a few steps towards
each class, and gives more steps only to the most promising ones. What it misses may still exist:
the robust accuracy after it is an upper bound.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from datacurate.attacks.apgd import apgd
from datacurate.attacks.arguments import AttackArguments, random_start
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.losses import (
    DLR_CLASSES,
    LossFunction,
    targeted_dlr_loss,
    targeted_margin_loss,
)
from datacurate.fingerprints import seed64

_TARGETS = 9  # classes that are probed
_PROBE_STEPS = 8  # towards each of them
_LONG_SEARCHES = 3  # towards the classes whose margin is smallest after the probes


def runner_up_attack(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run APGD towards the class with the second largest logit."""
    logits = batch.model.float32_logits(batch.x)
    target = logits.argsort(dim=1)[:, -2]
    start = random_start(batch, arguments)
    apgd(batch, _loss_function(logits), start, target, steps=arguments.steps)


def nearest_attack(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Probe up to nine target classes, then search on towards the three nearest.

    A probe takes 8 steps. Each of the three longer searches takes `arguments.steps` and continues
    from the point where the probe of its class ended.
    """
    logits = batch.model.float32_logits(batch.x)
    order = logits.argsort(dim=1, descending=True)
    targets = order[:, 1 : 1 + _TARGETS]
    loss_function = _loss_function(logits)
    points, margins = [], []
    for rank in range(1, targets.shape[1] + 1):
        target = targets[:, rank - 1]
        seed = seed64("probe", arguments.seeds[0], rank)
        start = random_start(batch, replace(arguments, seeds=(seed,)))
        point = apgd(batch, loss_function, start, target, steps=_PROBE_STEPS)
        points.append(point)
        margins.append(_target_margin(batch, point, target))
        batch.count_work((~batch.broken).nonzero()[:, 0], forwards=1)
    nearest = torch.stack(margins, dim=1).argsort(dim=1, descending=True)
    probed = torch.stack(points, dim=1)
    rows = batch.all_rows()
    for search in range(min(_LONG_SEARCHES, targets.shape[1])):
        chosen = nearest[:, search]
        start, target = probed[rows, chosen], targets[rows, chosen]
        apgd(batch, loss_function, start, target, steps=arguments.steps)


def _target_margin(batch: AttackBatch, point: Tensor, target: Tensor) -> Tensor:
    """Return by how much the target's logit exceeds the label's at a point, shape (N,)."""
    return targeted_margin_loss(batch.model.search_logits(point), batch.y, target)[0]


def _loss_function(logits: Tensor) -> LossFunction:
    return targeted_dlr_loss if logits.shape[1] >= DLR_CLASSES else targeted_margin_loss
