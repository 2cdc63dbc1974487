"""Auto-PGD: signed gradient ascent with momentum that halves its own step size.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks" (https://arxiv.org/abs/2003.01690), section 3 and algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments, random_start, target_classes
from datacurate.attacks.attack_batch import AttackBatch, RowState
from datacurate.attacks.losses import LossFunction, cross_entropy_loss, targeted_dlr_loss

_MOMENTUM = 0.75  # weight of the new step; the rest repeats the last one
_ENOUGH_RISES = 0.75  # share of steps that must raise the loss, or the step size is halved


def apgd_ce(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run APGD on the cross-entropy from a random start."""
    start = random_start(batch, arguments)
    apgd(batch, cross_entropy_loss, start, batch.y, steps=arguments.steps)


def apgd_targeted(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run APGD on the targeted DLR loss from a random start."""
    targets = target_classes(batch, arguments)
    start = random_start(batch, arguments)
    apgd(batch, targeted_dlr_loss, start, targets, steps=arguments.steps)


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which APGD reconsiders its step size, Eq. 4 and below.

    Parameters
    ----------
    steps : int
        Of the whole attack.

    Returns
    -------
    list of int
        Ascending.
    """
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    # The sums of decimals are slightly above a whole number of steps.
    return sorted({math.ceil(share * steps - 1e-9) for share in shares[1:] if share <= 1 + 1e-9})


def apgd(
    batch: AttackBatch,
    loss_function: LossFunction,
    start: Tensor,
    targets: Tensor,
    *,
    steps: int,
) -> Tensor:
    """Run APGD once on every example of a batch that is not broken yet.

    An example leaves when it breaks. Each of the others gets every step, with a gradient at each
    point but the last.

    Parameters
    ----------
    batch : AttackBatch
    loss_function : callable
    start : Tensor of float32, shape (N, C, H, W)
        In the ball.
    targets : Tensor of int64, shape (N,)
        For a targeted loss.
    steps : int

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        The point of highest loss of each example that did not break; `start` for the others.
    """
    result = start.clone()
    state, unbroken = _begin(batch, loss_function, start, targets, with_gradient=steps > 0)
    state.keep(unbroken)
    previous_checkpoint, remaining = 0, checkpoints(steps)
    for step in range(1, steps + 1):
        if not len(state.rows):
            break
        state.move(_MOMENTUM if step > 1 else 1.0)
        loss, gradient, unbroken = _evaluate(
            batch, loss_function, state.point, state.targets, state.rows, step < steps
        )
        batch.count_work(state.rows, steps=1)
        state.update(loss, gradient)
        if step in remaining:
            state.adapt_step_size(step - previous_checkpoint)
            previous_checkpoint = step
        state.keep(unbroken)
    result[state.rows] = state.best_point
    return result


@dataclass
class _State(RowState):
    """What APGD remembers of each example that is not broken.

    Attributes
    ----------
    rows : Tensor of int64, shape (M,)
        Their rows in the batch.
    targets : Tensor of int64, shape (M,)
    lower, upper : Tensor of float32, shape (M, C, H, W)
        Bounds of the pixels.
    point, previous : Tensor of float32, shape (M, C, H, W)
        The current point and the one before it.
    loss : Tensor, shape (M,)
    gradient : Tensor, shape (M, C, H, W)
        Both at `point`.
    best_loss, best_point, best_gradient : Tensor
        The highest loss so far, and where it was.
    step_size : Tensor of float32, shape (M, 1, 1, 1)
    rises : Tensor, shape (M,)
        Steps that raised the loss since the last checkpoint.
    best_loss_before : Tensor, shape (M,)
        The highest loss at the last checkpoint.
    halved : Tensor of bool, shape (M,)
        Whether the last checkpoint halved the step size.
    """

    targets: Tensor
    lower: Tensor
    upper: Tensor
    point: Tensor
    previous: Tensor
    loss: Tensor
    gradient: Tensor
    best_loss: Tensor
    best_point: Tensor
    best_gradient: Tensor
    step_size: Tensor
    rises: Tensor
    best_loss_before: Tensor
    halved: Tensor

    def move(self, momentum: float) -> None:
        """Take one step with momentum, projected onto the ball and the pixel range."""
        moved = self.point + self.step_size * self.gradient.sign()
        moved = torch.clamp(moved, self.lower, self.upper)
        last_move = self.point - self.previous
        moved = self.point + momentum * (moved - self.point) + (1 - momentum) * last_move
        self.previous, self.point = self.point, torch.clamp(moved, self.lower, self.upper)

    def update(self, loss: Tensor, gradient: Tensor) -> None:
        """Take over the loss and gradient at the new point, and remember the best ones."""
        self.rises = self.rises + (loss > self.loss)
        self.loss, self.gradient = loss, gradient
        better = loss > self.best_loss
        better_image = better[:, None, None, None]
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best_point = torch.where(better_image, self.point, self.best_point)
        self.best_gradient = torch.where(better_image, gradient, self.best_gradient)

    def adapt_step_size(self, steps: int) -> None:
        """Halve the step size of examples without progress, and return them to their best point.

        There is no progress if too few of the `steps` since the last checkpoint raised the loss,
        or if the highest loss is still that of the last checkpoint with the same step size.
        """
        stuck = (self.rises < _ENOUGH_RISES * steps) | (
            ~self.halved & (self.best_loss <= self.best_loss_before)
        )
        stuck_image = stuck[:, None, None, None]
        self.step_size = torch.where(stuck_image, self.step_size / 2, self.step_size)
        self.point = torch.where(stuck_image, self.best_point, self.point)
        self.gradient = torch.where(stuck_image, self.best_gradient, self.gradient)
        self.loss = torch.where(stuck, self.best_loss, self.loss)
        self.rises = torch.zeros_like(self.rises)
        self.halved, self.best_loss_before = stuck, self.best_loss


def _begin(
    batch: AttackBatch,
    loss_function: LossFunction,
    start: Tensor,
    targets: Tensor,
    *,
    with_gradient: bool,
) -> tuple[_State, Tensor]:
    """Return the state at the start, and which of its examples the start does not break."""
    rows = batch.unbroken_rows()
    point, targets = start[rows], targets[rows]
    loss, gradient, unbroken = _evaluate(batch, loss_function, point, targets, rows, with_gradient)
    state = _State(
        rows=rows,
        targets=targets,
        lower=batch.lower[rows],
        upper=batch.upper[rows],
        point=point,
        previous=point,
        loss=loss,
        gradient=gradient,
        best_loss=loss.clone(),
        best_point=point.clone(),
        best_gradient=gradient.clone(),
        step_size=torch.full((len(rows), 1, 1, 1), 2 * batch.radius, device=point.device),
        rises=torch.zeros_like(loss),
        best_loss_before=loss.clone(),
        halved=torch.ones_like(loss, dtype=torch.bool),
    )
    return state, unbroken


def _evaluate(
    batch: AttackBatch,
    loss_function: LossFunction,
    point: Tensor,
    targets: Tensor,
    rows: Tensor,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return loss and gradient at a point, and which examples it does not break."""
    y = batch.y[rows]
    if with_gradient:
        logits, backward = batch.model.differentiable(point)
        loss, logit_gradient = loss_function(logits, y, targets)
        gradient = backward(logit_gradient)
    else:
        logits = batch.model.search_logits(point)
        loss, gradient = loss_function(logits, y, targets)[0], point
    batch.count_work(rows, forwards=1, gradients=int(with_gradient))
    return loss, gradient, ~batch.check(rows, point, logits)
