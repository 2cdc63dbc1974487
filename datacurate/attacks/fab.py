"""Targeted FAB: minimise the perturbation by projecting onto the linearised decision boundary.

Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack"
(https://arxiv.org/abs/1907.02044), algorithm 1 with one target class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments, target_classes
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.losses import targeted_margin_loss

_LARGEST_WEIGHT = 0.1  # of the projection of the image itself
_OVERSHOOT = 1.05
_BACKWARD_STEP = 0.9  # a point beyond the boundary keeps this share of its distance to the image
_EPSILON = 1e-12
_NEWTON_STEPS = 40  # upper limit; two to five are usual


def fab_targeted(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run FAB towards the target class of each run."""
    fab(batch, target_classes(batch, arguments), steps=arguments.steps)


def fab(batch: AttackBatch, targets: Tensor, *, steps: int) -> None:
    """Run FAB once from each image of a batch towards a target class.

    An example leaves when a misclassified point within its radius is found; all others get every
    step.

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
        difference, logit_gradient = targeted_margin_loss(logits, y, targets)
        gradient = backward(logit_gradient)
        from_point = to_boundary(point, difference, gradient)
        # The same plane, seen from the image.
        at_origin = difference + (gradient * (origin - point)).flatten(1).sum(1)
        from_origin = to_boundary(origin, at_origin, gradient)
        point_distance = _distance(from_point).clamp(min=1e-8)
        origin_distance = _distance(from_origin).clamp(min=1e-8)
        weight = (point_distance / (point_distance + origin_distance)).clamp(max=_LARGEST_WEIGHT)
        weight = weight[:, None, None, None]
        point = (point + _OVERSHOOT * from_point) * (1 - weight)
        point = (point + (origin + _OVERSHOOT * from_origin) * weight).clamp_(0, 1)
        logits = batch.model.search_logits(point)
        batch.count_work(rows, steps=1, forwards=2, gradients=1)
        wrong = logits.argmax(dim=1) != y
        within_ball = _distance(point - origin) <= batch.radius
        broken = batch.confirm(rows, point, wrong & within_ball)
        closer = origin + _BACKWARD_STEP * (point - origin)
        point = torch.where(wrong[:, None, None, None], closer, point)
        if broken.any():
            unbroken = ~broken
            rows, y, targets = rows[unbroken], y[unbroken], targets[unbroken]
            origin, point = origin[unbroken], point[unbroken]


def to_boundary(point: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Return the smallest ℓ∞ move to the plane where a linear function is zero, within [0, 1].

    A move of length t changes every pixel by t, or less where the pixel reaches an end of its
    range, in the direction that brings the function closer to zero. The change of the function is
    concave in t and linear between the lengths at which a pixel reaches its end. So Newton's method
    from 0 never oversteps and ends at the exact length. If the plane cannot be reached, every pixel
    goes to its end.

    Parameters
    ----------
    point : Tensor, shape (N, C, H, W)
        In [0, 1].
    value : Tensor, shape (N,)
        Of the function at `point`.
    gradient : Tensor, shape (N, C, H, W)
        Of the function.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        The move.
    """
    direction = gradient.sign() * -value.sign()[:, None, None, None]
    slope = gradient.abs().flatten(1)
    # Multiply signs: kernels with a condition take ten times as long.
    range_left = (0.5 + 0.5 * direction - direction * point).flatten(1) * slope.sign()
    needed = value.abs()
    length = torch.zeros_like(needed)
    for _ in range(_NEWTON_STEPS):
        moved = torch.minimum(range_left, length[:, None])
        change = (slope * moved).sum(1)
        rate = (slope * (range_left - moved).sign_()).sum(1)
        increase = (needed - change).clamp(min=0) / (rate + _EPSILON)
        increase = torch.where(rate > 0, increase, 0)
        length = length + increase
        if (increase <= 1e-6 * length + 1e-9).all():
            break
    move = torch.minimum(range_left, length[:, None]).view_as(point)
    return direction * move


def _distance(move: Tensor) -> Tensor:
    """Return the ℓ∞ norm of each move, shape (N,)."""
    return move.abs().flatten(1).amax(dim=1)
