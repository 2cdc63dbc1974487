"""Targeted FAB: the smallest perturbation, by projections onto the linearised boundary.

Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack"
(https://arxiv.org/abs/1907.02044), algorithm 1 with one target class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.apgd import margins
from datacurate.attacks.attack_batch import AttackBatch

_TOWARDS_IMAGE = 0.1  # largest weight of the projection of the image itself
_OVERSHOOT = 1.05
_BACK = 0.9  # how far back towards the image a step from beyond the boundary goes
_TINY = 1e-12
_NEWTON_STEPS = 40  # an upper limit; two to five are usual


def fab(batch: AttackBatch, targets: Tensor, *, steps: int) -> None:
    """Run FAB once from the images of a batch towards a target class each.

    An example leaves the batch when a misclassified point within its radius is found; all others
    get every step.

    Parameters
    ----------
    batch : AttackBatch
    targets : Tensor of int64, shape (N,)
    steps : int
    """
    rows = batch.unbroken_rows()
    origin = point = batch.x[rows]
    y, targets = batch.y[rows], targets[rows]
    for _ in range(steps):
        if not len(rows):
            return
        logits, backward = batch.model.differentiable(point)
        ahead, of_logits = margins(logits, y, targets)
        gradient = backward(of_logits)
        here = to_boundary(point, ahead, gradient)
        # The same plane as seen from the image.
        there = to_boundary(
            origin, ahead + (gradient * (origin - point)).flatten(1).sum(1), gradient
        )
        near, far = _reach(here).clamp(min=1e-8), _reach(there).clamp(min=1e-8)
        weight = (near / (near + far)).clamp(max=_TOWARDS_IMAGE)[:, None, None, None]
        point = (point + _OVERSHOOT * here) * (1 - weight)
        point = (point + (origin + _OVERSHOOT * there) * weight).clamp_(0, 1)
        logits = batch.model.search_logits(point)
        batch.count_work(rows, steps=1, forwards=2, gradients=1)
        beyond = logits.argmax(dim=1) != y
        within = _reach(point - origin) <= batch.radius
        hit = batch.confirm(rows, point, beyond & within)
        back = origin + _BACK * (point - origin)
        point = torch.where(beyond[:, None, None, None], back, point)
        if hit.any():
            left = ~hit
            rows, y, targets = rows[left], y[left], targets[left]
            origin, point = origin[left], point[left]


def to_boundary(point: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Return the smallest ℓ∞ move onto the plane where a linear function is zero, within [0, 1].

    A move of length t takes every pixel by t, or to its end of the range, in the direction that
    brings the value nearer to zero; what that wins is concave in t and linear between the lengths
    at which a pixel reaches its end, so Newton's method from 0 never oversteps and ends exactly.
    Where the range does not reach the plane, every pixel goes to its end.

    Parameters
    ----------
    point : Tensor, shape (N, C, H, W)
        In [0, 1].
    value : Tensor, shape (N,)
        Of the function at `point`.
    gradient : Tensor, shape (N, C, H, W)

    Returns
    -------
    Tensor, shape (N, C, H, W)
        The move.
    """
    direction = gradient.sign() * -value.sign()[:, None, None, None]
    slope = gradient.abs().flatten(1)
    # Arithmetic on signs, for kernels that choose by a condition take ten times as long.
    room = (0.5 + 0.5 * direction - direction * point).flatten(1) * slope.sign()
    wanted = value.abs()
    length = torch.zeros_like(wanted)
    for _ in range(_NEWTON_STEPS):
        moved = torch.minimum(room, length[:, None])
        won = (slope * moved).sum(1)
        rate = (slope * (room - moved).sign_()).sum(1)
        more = (wanted - won).clamp(min=0) / (rate + _TINY)
        more = torch.where(rate > 0, more, 0)
        length = length + more
        if (more <= 1e-6 * length + 1e-9).all():
            break
    move = torch.minimum(room, length[:, None]).view_as(point)
    return direction * move


def _reach(move: Tensor) -> Tensor:
    return move.abs().flatten(1).amax(dim=1)
