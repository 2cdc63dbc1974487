"""The reference implementation: AutoAttack's attacks as the package `pyautoattack` has them.

Use it to compare ours with. The package's own driver reseeds the global random generator, draws an
example's noise from its place among the survivors, and makes a single restart only in its
``standard`` version. So the attacks are called here one restart and one target at a time, with
noise keyed by example: APGD takes a starting point, FAB without restarts draws nothing, and the two
sources of randomness in Square are replaced. If the kernels are the same, the result of an example
does not depend on the others.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments, AttackFunction, random_start
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.noise import keyed_uniform
from datacurate.attacks.table import ATTACKS, AttackSpec

_silent = logging.Logger("pyautoattack")
_silent.addHandler(logging.NullHandler())


def reference_attacks() -> dict[str, AttackSpec]:
    """Return the rows of the table of attacks that the package has, with its functions."""
    functions: dict[str, AttackFunction] = {
        "apgd-ce": _apgd,
        "apgd-t": _apgd,
        "fab-t": _fab,
        "square": _square,
    }
    return {name: replace(ATTACKS[name], run=run) for name, run in functions.items()}


def reference_title() -> str:
    """Return the package's name and version."""
    return f"pyautoattack {version('pyautoattack')}"


class _Counter:
    """A model that counts its forward passes."""

    def __init__(self, batch: AttackBatch) -> None:
        self._predict = batch.model.exact_logits
        self.calls = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        return self._predict(pixels)


def _apgd(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run APGD once: on cross-entropy, or with a target on the targeted DLR loss."""
    predict = _Counter(batch)
    target, steps = arguments.targets[0], arguments.steps
    kind = APGDAttack_targeted if target else APGDAttack
    attack = kind(predict, n_iter=steps, eps=batch.radius, device=batch.x.device, logger=_silent)
    attack.init_hyperparam(batch.x)
    if target:
        attack.y_target = predict(batch.x).argsort(dim=1)[:, -1 - target]
    # The package clips the start itself; it too starts on the surface of the ball.
    start = random_start(batch, arguments)
    _, correct, _, candidates = attack.attack_single_run(batch.x, batch.y, x_init=start)
    batch.candidates, batch.broken = candidates.detach(), ~correct
    batch.count_work(batch.all_rows(), steps=steps, forwards=predict.calls, gradients=steps + 1)


def _fab(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run targeted FAB once; it minimises the perturbation and does not use the radius."""
    predict = _Counter(batch)
    steps = arguments.steps
    attack = FABAttack_PT(predict, n_iter=steps, eps=batch.radius, device=batch.x.device)
    attack.target_class = arguments.targets[0] + 1
    candidates = attack.attack_single_run(batch.x, batch.y, is_targeted=True).detach()
    distance = (candidates - batch.x).abs().flatten(1).amax(dim=1)
    # The package returns the example itself where it finds nothing.
    batch.candidates, batch.broken = candidates, (distance > 0) & (distance <= batch.radius)
    batch.count_work(batch.all_rows(), steps=steps, forwards=predict.calls, gradients=steps)


def _square(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run Square once: stripes keyed by example, then one sequence of squares for all examples."""
    x, seed = batch.x, arguments.seeds[0]
    attack = SquareAttack(
        batch.model.exact_logits,
        n_queries=arguments.steps,
        eps=batch.radius,
        resc_schedule=False,
        device=x.device,
    )
    attack.init_hyperparam(x)
    generator = torch.Generator().manual_seed(seed)

    def random_signs(shape: Sequence[int]) -> Tensor:
        if len(shape) == x.ndim:  # the stripes of the start, one row an example
            uniform = keyed_uniform(seed, arguments.keys, math.prod(shape[1:])).view(*shape)
        else:
            uniform = torch.rand(*shape, generator=generator)
        return torch.sign(2 * uniform - 1).to(x.device)

    def random_integer(low: int = 0, high: int = 1) -> int:
        return low + int((high - low) * torch.rand(1, generator=generator).item())

    attack.random_choice = random_signs
    attack.random_int = random_integer
    queried, candidates = attack.attack_single_run(x, batch.y)
    batch.candidates = candidates
    batch.broken = batch.model.exact_logits(candidates).argmax(dim=1) != batch.y
    queries = queried.cpu().numpy().astype(np.int32) - 1
    # Square leaves broken examples out of its forward passes, and counts its queries itself.
    batch.count_work(batch.all_rows(), steps=queries, forwards=queries + 2)
