"""The nearest targets: a cheap search that stands in for AutoAttack's long ones.

AutoAttack gives each of nine targets the same hundred steps. Nearly all of what it finds lies at
the target whose margin shrinks fastest, so a few steps towards each target first tell which ones
deserve the rest. What this does not find may still be there: the robust accuracy it leaves is an
upper bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.apgd import Losses, apgd, margins, random_start, targeted_dlr
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.fingerprints import U64, seed64

_MOST_TARGETS = 9
_PROBE_STEPS = 8
_ROUNDS = (40, 40, 40)  # steps towards the nearest target, the second, the third
_DLR_CLASSES = 4


def runner_up(batch: AttackBatch, keys: U64, chance: int, *, steps: int) -> None:
    """Run APGD towards the class with the second largest logit."""
    logits = batch.model.float32_logits(batch.x)
    target = logits.argsort(dim=1)[:, -2]
    apgd(batch, _loss(logits), random_start(batch, keys, chance), target, steps=steps)


def nearest(batch: AttackBatch, keys: U64, chance: int) -> None:
    """Probe up to nine targets for a few steps, then search towards the nearest of them.

    Each longer search goes on from where the probe of its target ended.

    Parameters
    ----------
    batch : AttackBatch
    keys : ndarray of uint64, shape (N,)
    chance : int
    """
    logits = batch.model.float32_logits(batch.x)
    order = logits.argsort(dim=1, descending=True)
    count = min(_MOST_TARGETS, logits.shape[1] - 1)
    loss = _loss(logits)
    ends, reached = [], []
    for place in range(1, count + 1):
        start = random_start(batch, keys, seed64("probe", chance, place))
        end = apgd(batch, loss, start, order[:, place], steps=_PROBE_STEPS)
        ends.append(end)
        reached.append(margins(batch.model.search_logits(end), batch.y, order[:, place])[0])
        batch.count_work((~batch.broken).nonzero()[:, 0], forwards=1)
    ranked = torch.stack(reached, dim=1).argsort(dim=1, descending=True)
    points = torch.stack(ends, dim=1)
    each = torch.arange(len(ranked), device=ranked.device)
    for steps, place in zip(_ROUNDS, range(count), strict=False):
        chosen = ranked[:, place]
        target = order[each, chosen + 1]
        apgd(batch, loss, points[each, chosen], target, steps=steps)


def _loss(logits: Tensor) -> Losses:
    return targeted_dlr if logits.shape[1] >= _DLR_CLASSES else margins
