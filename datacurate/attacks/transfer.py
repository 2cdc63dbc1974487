"""Transfer: adversarial examples of a surrogate, shown to the model once."""

from __future__ import annotations

import torch

from datacurate.attacks.apgd import apgd, cross_entropies, random_start
from datacurate.attacks.attack_batch import Hunt, Victim, rows_of
from datacurate.attacks.pgd_attack import signed_steps
from datacurate.fingerprints import U64


def transfer(
    hunt: Hunt, surrogate: Victim, kind: str, keys: U64, chance: int, *, steps: int
) -> None:
    """Attack a surrogate with all steps, then ask the model about each result.

    The model gives no gradients and answers once for each example.

    Parameters
    ----------
    hunt : Hunt
        On the model.
    surrogate : Victim
        What the examples are made for.
    kind : str
        ``"transfer-pgd"``, from the image; or ``"transfer-apgd"``, on the cross-entropy from a
        random start.
    keys : ndarray of uint64, shape (N,)
    chance : int
    steps : int
    """
    elsewhere = Hunt(surrogate, hunt.x, hunt.y, hunt.radius, relentless=True)
    if kind == "transfer-pgd":
        adversarial = signed_steps(elsewhere, steps=steps)
    else:
        start = random_start(elsewhere, keys, chance)
        adversarial = apgd(elsewhere, cross_entropies, start, hunt.y, steps=steps)
    hunt.steps += elsewhere.steps
    rows = rows_of(hunt)
    hunt.spend(rows, forwards=1)
    hunt.claim(rows, adversarial, torch.ones_like(hunt.broken))
