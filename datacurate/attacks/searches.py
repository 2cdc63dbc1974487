"""One attack with one target on a batch, by our implementation or the package's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from datacurate.attacks.acceleration.incremental_forward import windowed
from datacurate.attacks.apgd import apgd, cross_entropies, random_start, targeted_dlr
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.fab import fab
from datacurate.attacks.fast_attack import nearest, runner_up
from datacurate.attacks.package import package_search
from datacurate.attacks.pgd_attack import signed_steps
from datacurate.attacks.rays import rays
from datacurate.attacks.square import WholeTrials, square
from datacurate.attacks.suites import Pass
from datacurate.attacks.transfer import transfer
from datacurate.errors import UnknownNameError
from datacurate.fingerprints import U64, seed64

Implementation = Literal["own", "package"]


def search(
    passes: Sequence[Pass],
    batch: AttackBatch,
    *,
    keys: U64,
    seed: int,
    implementation: Implementation = "own",
    tries: int = 1,
    surrogate: AttackedModel | None = None,
) -> Tensor:
    """Look for adversarial examples of correctly classified ones with one attack.

    Parameters
    ----------
    passes : sequence of Pass
        Which attack, and which targets: as many as the batch has attempts, and more than one of
        our own targeted attacks alone.
    batch : AttackBatch
        The examples; its candidates and counts are filled in.
    keys : ndarray of uint64, shape (N,)
        To which each example's noise belongs.
    seed : int
    implementation : str
        ``"own"``, or ``"package"`` for the attacks of AutoAttack as `pyautoattack` has them.
    tries : int
        How many queries Square may make in one pass, if it has fewer examples.
    surrogate : AttackedModel, optional
        What the transfer attacks attack.

    Returns
    -------
    Tensor of bool, shape (N,)
        Which rows' examples are held to be broken.

    Raises
    ------
    UnknownNameError
        For another implementation.
    """
    if implementation not in get_args(Implementation):
        raise UnknownNameError("implementation", implementation, get_args(Implementation))
    step, chances = passes[0], [seed64("autoattack", seed, p.attack, p.target) for p in passes]
    chance = chances[0]
    if implementation == "package":
        return package_search(batch, step, keys=keys, chance=chance)
    if step.attack == "square":
        trials = windowed(batch.model.folded, batch.x) or WholeTrials(batch.model.float32_logits)
        square(batch, trials, keys, chance, queries=step.steps, tries=tries)
    elif step.attack == "rays":
        rays(batch, queries=step.steps)
    elif step.attack == "pgd":
        signed_steps(batch, steps=step.steps)
    elif step.attack == "runner-up":
        runner_up(batch, keys, chance, steps=step.steps)
    elif step.attack == "nearest":
        nearest(batch, keys, chance)
    elif surrogate is not None and step.attack in ("transfer-pgd", "transfer-apgd"):
        transfer(batch, surrogate, step.attack, keys, chance, steps=step.steps)
    elif step.attack == "apgd-ce":
        start = random_start(batch, keys, chance)
        apgd(batch, cross_entropies, start, batch.y, steps=step.steps)
    else:
        count = len(batch.x) // batch.runs
        order = batch.model.float32_logits(batch.x[:count]).argsort(dim=1)
        targets = torch.cat([order[:, -1 - each.target] for each in passes])
        batch.count_work(batch.all_rows(), forwards=1)
        if step.attack == "fab-t":
            fab(batch, targets, steps=step.steps)
        else:
            start = random_start(batch, keys, *chances)
            apgd(batch, targeted_dlr, start, targets, steps=step.steps)
    return batch.broken
