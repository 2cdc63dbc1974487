"""The attacks of `pyautoattack`, one search at a time.

The package's own driver reseeds the global random generator, draws an example's noise from its
place among the survivors, and sets one restart only in its ``standard`` version. So its attacks are
called one run and one target at a time (hence one restart each), with noise keyed by example:
APGD takes a starting point, FAB without restarts draws none, and Square's two sources of chance are
replaced. Given the same kernels, what is found for an example does not depend on the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from datacurate.attacks.noise import keyed_uniform
from datacurate.attacks.suites import Pass
from datacurate.fingerprints import U64, seed64

Predict = Callable[[Tensor], Tensor]

_ITERATIONS = 100  # of APGD and FAB
_QUERIES = 5000  # of Square

_silent = logging.Logger("pyautoattack")
_silent.addHandler(logging.NullHandler())


def search(
    step: Pass, predict: Predict, x: Tensor, y: Tensor, *, radius: float, keys: U64, seed: int
) -> tuple[Tensor, Tensor]:
    """Look for adversarial examples of correctly classified ones with one attack and one target.

    Parameters
    ----------
    step : Pass
        Which attack, and which target.
    predict : callable
        Pixels (N, C, H, W) in [0, 1] to float32 logits (N, K); differentiable.
    x : Tensor of float32, shape (N, C, H, W)
    y : Tensor of int64, shape (N,)
        The labels, which `predict` gets right.
    radius : float
        Of the ℓ∞ ball, in pixel units.
    keys : ndarray of uint64, shape (N,)
        To which each example's noise belongs.
    seed : int

    Returns
    -------
    candidates : Tensor of float32, shape (N, C, H, W)
    claimed : Tensor of bool, shape (N,)
        Where the attack holds that its candidate is adversarial. Nothing is confirmed here.
    """
    chance = seed64("autoattack", seed, step.attack, step.target)
    if step.attack == "fab-t":
        return _fab(predict, x, y, radius, step.target)
    if step.attack == "square":
        return _square(predict, x, y, radius, keys, chance)
    return _apgd(predict, x, y, radius, keys, chance, step.target)


def _apgd(
    predict: Predict, x: Tensor, y: Tensor, radius: float, keys: U64, chance: int, target: int
) -> tuple[Tensor, Tensor]:
    """Run APGD once: on cross-entropy, or with a target on the targeted DLR loss."""
    kind = APGDAttack_targeted if target else APGDAttack
    attack = kind(predict, n_iter=_ITERATIONS, eps=radius, device=x.device, logger=_silent)
    attack.init_hyperparam(x)
    if target:
        attack.y_target = _runner_up(predict, x, target)
    noise = 2 * keyed_uniform(chance, keys, math.prod(x.shape[1:])) - 1
    noise /= noise.abs().amax(dim=1, keepdim=True)  # the package starts on the ball's surface
    start = x + radius * noise.view(x.shape).to(x.device)
    _, correct, _, candidates = attack.attack_single_run(x, y, x_init=start)
    return candidates.detach(), ~correct


def _fab(
    predict: Predict, x: Tensor, y: Tensor, radius: float, target: int
) -> tuple[Tensor, Tensor]:
    """Run targeted FAB once; it minimises the perturbation and knows no radius."""
    attack = FABAttack_PT(predict, n_iter=_ITERATIONS, eps=radius, device=x.device)
    attack.target_class = target + 1
    candidates = attack.attack_single_run(x, y, is_targeted=True).detach()
    distance = (candidates - x).abs().flatten(1).amax(dim=1)
    # The package returns the example itself where it found nothing.
    return candidates, (distance > 0) & (distance <= radius)


def _square(
    predict: Predict, x: Tensor, y: Tensor, radius: float, keys: U64, chance: int
) -> tuple[Tensor, Tensor]:
    """Run Square once: stripes keyed by example, then one sequence of squares for all examples."""
    attack = SquareAttack(
        predict, n_queries=_QUERIES, eps=radius, resc_schedule=False, device=x.device
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
    _, candidates = attack.attack_single_run(x, y)
    return candidates, predict(candidates).argmax(dim=1) != y


def _runner_up(predict: Predict, x: Tensor, place: int) -> Tensor:
    """Return for each example the class at a place below its largest logit."""
    return predict(x).argsort(dim=1)[:, -1 - place]
