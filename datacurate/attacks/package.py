"""The attacks of `pyautoattack`, one search at a time: the implementation to compare ours with.

The package's own driver reseeds the global random generator, draws an example's noise from its
place among the survivors, and sets one restart only in its ``standard`` version. So its attacks are
called one run and one target at a time (hence one restart each), with noise keyed by example:
APGD takes a starting point, FAB without restarts draws none, and Square's two sources of chance are
replaced. Given the same kernels, what is found for an example does not depend on the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from datacurate.attacks.attack_batch import AttackBatch, Counts
from datacurate.attacks.attacked_model import Predict
from datacurate.attacks.noise import keyed_uniform
from datacurate.attacks.suites import Pass
from datacurate.fingerprints import U64

_silent = logging.Logger("pyautoattack")
_silent.addHandler(logging.NullHandler())


def package_search(batch: AttackBatch, step: Pass, *, keys: U64, chance: int) -> Tensor:
    """Run one attack of the package with one target on all examples of a batch.

    Parameters
    ----------
    batch : AttackBatch
    step : Pass
        Of AutoAttack.
    keys : ndarray of uint64, shape (N,)
        To which each example's noise belongs.
    chance : int
        Seed of this search.

    Returns
    -------
    Tensor of bool, shape (N,)
        Where the attack holds that its candidate is adversarial. Nothing is confirmed here.
    """
    calls = 0

    def predict(pixels: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return batch.model.exact_logits(pixels)

    x, y, radius = batch.x, batch.y, batch.radius
    gradients = 0
    steps: Counts = np.full(len(x), step.steps, dtype=np.int32)
    if step.attack == "fab-t":
        batch.candidates, claimed = _fab(predict, x, y, radius, step.target, step.steps)
        gradients = step.steps
    elif step.attack == "square":
        batch.candidates, claimed, steps = _square(predict, x, y, radius, keys, chance, step.steps)
    else:
        batch.candidates, claimed = _apgd(
            predict, x, y, radius, keys, chance, step.target, step.steps
        )
        gradients = step.steps + 1
    batch.steps += steps
    # Square alone leaves broken examples out of its passes, and counts them itself.
    batch.forwards += steps + 2 if step.attack == "square" else np.int32(calls)
    batch.gradients += np.int32(gradients)
    return claimed


def _apgd(
    predict: Predict,
    x: Tensor,
    y: Tensor,
    radius: float,
    keys: U64,
    chance: int,
    target: int,
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Run APGD once: on cross-entropy, or with a target on the targeted DLR loss."""
    kind = APGDAttack_targeted if target else APGDAttack
    attack = kind(predict, n_iter=steps, eps=radius, device=x.device, logger=_silent)
    attack.init_hyperparam(x)
    if target:
        attack.y_target = _runner_up(predict, x, target)
    noise = 2 * keyed_uniform(chance, keys, math.prod(x.shape[1:])) - 1
    noise /= noise.abs().amax(dim=1, keepdim=True)  # the package starts on the ball's surface
    start = x + radius * noise.view(x.shape).to(x.device)
    _, correct, _, candidates = attack.attack_single_run(x, y, x_init=start)
    return candidates.detach(), ~correct


def _fab(
    predict: Predict, x: Tensor, y: Tensor, radius: float, target: int, steps: int
) -> tuple[Tensor, Tensor]:
    """Run targeted FAB once; it minimises the perturbation and knows no radius."""
    attack = FABAttack_PT(predict, n_iter=steps, eps=radius, device=x.device)
    attack.target_class = target + 1
    candidates = attack.attack_single_run(x, y, is_targeted=True).detach()
    distance = (candidates - x).abs().flatten(1).amax(dim=1)
    # The package returns the example itself where it found nothing.
    return candidates, (distance > 0) & (distance <= radius)


def _square(
    predict: Predict, x: Tensor, y: Tensor, radius: float, keys: U64, chance: int, queries: int
) -> tuple[Tensor, Tensor, Counts]:
    """Run Square once: stripes keyed by example, then one sequence of squares for all examples."""
    attack = SquareAttack(
        predict, n_queries=queries, eps=radius, resc_schedule=False, device=x.device
    )
    attack.init_hyperparam(x)
    stream = torch.Generator().manual_seed(chance)

    def signs(shape: Sequence[int]) -> Tensor:
        if len(shape) == x.ndim:  # the stripes of the start, a row an example
            uniform = keyed_uniform(chance, keys, math.prod(shape[1:])).view(*shape)
        else:
            uniform = torch.rand(*shape, generator=stream)
        return torch.sign(2 * uniform - 1).to(x.device)

    def position(low: int = 0, high: int = 1) -> int:
        return low + int((high - low) * torch.rand(1, generator=stream).item())

    attack.random_choice = signs
    attack.random_int = position
    asked, candidates = attack.attack_single_run(x, y)
    claimed = predict(candidates).argmax(dim=1) != y
    return candidates, claimed, asked.cpu().numpy().astype(np.int32) - 1


def _runner_up(predict: Predict, x: Tensor, place: int) -> Tensor:
    """Return for each example the class at a place below its largest logit."""
    return predict(x).argsort(dim=1)[:, -1 - place]
