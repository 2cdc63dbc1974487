"""Transfer: adversarial examples of a surrogate, shown to the model once."""

from __future__ import annotations

import torch

from datacurate.attacks.apgd import apgd, cross_entropies, random_start
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.pgd_attack import signed_steps
from datacurate.fingerprints import U64


def transfer(
    batch: AttackBatch, surrogate: AttackedModel, kind: str, keys: U64, chance: int, *, steps: int
) -> None:
    """Attack a surrogate with all steps, then ask the model about each result.

    The model gives no gradients and answers once for each example.

    Parameters
    ----------
    batch : AttackBatch
        On the model.
    surrogate : AttackedModel
        What the examples are made for.
    kind : str
        ``"transfer-pgd"``, from the image; or ``"transfer-apgd"``, on the cross-entropy from a
        random start.
    keys : ndarray of uint64, shape (N,)
    chance : int
    steps : int
    """
    elsewhere = AttackBatch(surrogate, batch.x, batch.y, batch.radius, ignore_success=True)
    if kind == "transfer-pgd":
        adversarial = signed_steps(elsewhere, steps=steps)
    else:
        start = random_start(elsewhere, keys, chance)
        adversarial = apgd(elsewhere, cross_entropies, start, batch.y, steps=steps)
    batch.steps += elsewhere.steps
    rows = batch.all_rows()
    batch.count_work(rows, forwards=1)
    batch.confirm(rows, adversarial, torch.ones_like(batch.broken))
