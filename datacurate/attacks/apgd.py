"""Auto-PGD: signed gradient ascent with momentum whose step halves itself.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks" (https://arxiv.org/abs/2003.01690), section 3 and algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.noise import keyed_uniform
from datacurate.fingerprints import U64

Losses = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""``losses(logits, labels, targets)``: what each example raises, (N,), and its gradient, (N, K)."""

_MOMENTUM = 0.75  # weight of the new step; the rest repeats the last one
_ENOUGH = 0.75  # share of steps that must raise the loss for the step size to stay
_TINY = 1e-12


def cross_entropies(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each example; the targets are not looked at."""
    loss = functional.cross_entropy(logits, y, reduction="none")
    return loss, logits.softmax(dim=1) - _at(y, logits)


def targeted_dlr(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targeted difference-of-logits ratio, equation 7: it does not depend on scale.

    Four classes or more.
    """
    highest, classes = logits.topk(4, dim=1)
    spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2 + _TINY
    margin, of_margin = margins(logits, y, targets)
    first, third, fourth = (_at(classes[:, place], logits) for place in (0, 2, 3))
    ratio = margin / spread
    of_spread = first - (third + fourth) / 2
    return ratio, (of_margin - ratio[:, None] * of_spread) / spread[:, None]


def margins(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much the target's logit exceeds the label's."""
    margin = logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, y[:, None])[:, 0]
    return margin, _at(targets, logits) - _at(y, logits)


def _at(classes: Tensor, logits: Tensor) -> Tensor:
    """Return 1 at each row's class and 0 elsewhere, in the shape of the logits."""
    return torch.zeros_like(logits).scatter_(1, classes[:, None], 1)


def checkpoints(steps: int) -> list[int]:
    """Return after which steps the step size is looked at, equation 4 and below."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # Sums of decimals land just above a whole number of steps.
    return sorted({math.ceil(share * steps - 1e-9) for share in shares[1:] if share <= 1 + 1e-9})


def random_start(batch: AttackBatch, keys: U64, *chances: int) -> Tensor:
    """Return a point of the ball's surface for each row, within the pixels.

    Parameters
    ----------
    batch : AttackBatch
    keys : ndarray of uint64
        Of the examples.
    *chances : int
        A seed for each attempt.
    """
    size = math.prod(batch.x.shape[1:])
    noise = 2 * torch.cat([keyed_uniform(chance, keys, size) for chance in chances]) - 1
    noise /= noise.abs().amax(dim=1, keepdim=True)
    start = batch.x + batch.radius * noise.view(batch.x.shape).to(batch.x.device)
    return torch.clamp(start, batch.lower, batch.upper)


def apgd(
    batch: AttackBatch,
    losses: Losses,
    start: Tensor,
    targets: Tensor,
    *,
    steps: int,
) -> Tensor:
    """Run APGD once on every example of a batch that is not broken yet.

    An example leaves the batch when it breaks. Each of the others gets every step, with a
    gradient at each point but the last.

    Parameters
    ----------
    batch : AttackBatch
    losses : callable
    start : Tensor of float32, shape (N, C, H, W)
        In the ball.
    targets : Tensor of int64, shape (N,)
        Of a targeted loss.
    steps : int

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        The point of highest loss of each example that did not break; `start` for the others.
    """
    result = start.clone()
    rows = batch.unbroken_rows()
    y, targets = batch.y[rows], targets[rows]
    point = previous = start[rows]
    lower, upper = batch.lower[rows], batch.upper[rows]
    loss, gradient, rows_left = _look(batch, losses, point, y, targets, rows, steps > 0)
    best_loss, best_point, best_gradient = loss.clone(), point.clone(), gradient.clone()
    size = torch.full((len(rows), 1, 1, 1), 2 * batch.radius, device=point.device)
    rises = torch.zeros_like(loss)
    loss_then = best_loss.clone()
    halved = torch.ones_like(loss, dtype=torch.bool)
    looks = [0, *checkpoints(steps)]
    state = [rows, y, targets, point, previous, lower, upper, loss, gradient, best_loss,
             best_point, best_gradient, size, rises, loss_then, halved]  # fmt: skip
    state = _kept(state, rows_left)
    for step in range(1, steps + 1):
        (rows, y, targets, point, previous, lower, upper, loss, gradient, best_loss,
         best_point, best_gradient, size, rises, loss_then, halved) = state  # fmt: skip
        if not len(rows):
            break
        momentum = _MOMENTUM if step > 1 else 1.0
        moved = torch.clamp(point + size * gradient.sign(), lower, upper)
        moved = point + momentum * (moved - point) + (1 - momentum) * (point - previous)
        previous, point = point, torch.clamp(moved, lower, upper)
        loss_before = loss
        loss, gradient, rows_left = _look(batch, losses, point, y, targets, rows, step < steps)
        batch.count_work(rows, steps=1)
        rises = rises + (loss > loss_before)
        better = loss > best_loss
        best_loss = torch.where(better, loss, best_loss)
        best_point = torch.where(better[:, None, None, None], point, best_point)
        best_gradient = torch.where(better[:, None, None, None], gradient, best_gradient)
        if step in looks:
            since = step - looks[looks.index(step) - 1]
            stuck = (rises < _ENOUGH * since) | (~halved & (best_loss <= loss_then))
            back = stuck[:, None, None, None]
            size = torch.where(back, size / 2, size)
            point = torch.where(back, best_point, point)
            gradient = torch.where(back, best_gradient, gradient)
            loss = torch.where(stuck, best_loss, loss)
            rises, halved, loss_then = torch.zeros_like(rises), stuck, best_loss
        state = _kept(
            [rows, y, targets, point, previous, lower, upper, loss, gradient, best_loss,
             best_point, best_gradient, size, rises, loss_then, halved],
            rows_left,
        )  # fmt: skip
    result[state[0]] = state[10]
    return result


def _look(
    batch: AttackBatch,
    losses: Losses,
    point: Tensor,
    y: Tensor,
    targets: Tensor,
    rows: Tensor,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses and gradients at a point, and which examples are not broken by it."""
    if with_gradient:
        logits, backward = batch.model.differentiable(point)
        loss, of_logits = losses(logits, y, targets)
        gradient = backward(of_logits)
    else:
        logits = batch.model.search_logits(point)
        loss, gradient = losses(logits, y, targets)[0], point
    batch.count_work(rows, forwards=1, gradients=int(with_gradient))
    hit = batch.check(rows, point, logits)
    return loss, gradient, ~hit


def _kept(state: list[Tensor], keep: Tensor) -> list[Tensor]:
    return state if keep.all() else [tensor[keep] for tensor in state]
