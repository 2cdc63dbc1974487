"""PGD with a fixed number of steps from the image itself; examples leave when they break.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
(https://arxiv.org/abs/1706.06083); numbers of steps and step size as in Dong et al., Data Quality
Matters, appendix B.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.losses import cross_entropy_loss

STEP_SIZE = 2 / 255


def pgd_attack(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run PGD on the cross-entropy; every iterate counts, not only the last."""
    signed_gradient_ascent(batch, steps=arguments.steps)


def signed_gradient_ascent(batch: AttackBatch, *, steps: int) -> Tensor:
    """Take steps of 2/255 along the sign of the cross-entropy's gradient, within the ball.

    Parameters
    ----------
    batch : AttackBatch
    steps : int

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        The last iterate of each example.
    """
    result = batch.x.clone()
    rows = batch.unbroken_rows()
    point, y = batch.x[rows], batch.y[rows]
    lower, upper = batch.lower[rows], batch.upper[rows]
    for step in range(steps + 1):
        is_last = step == steps
        if is_last:
            logits = batch.model.search_logits(point)
        else:
            logits, backward = batch.model.differentiable(point)
            gradient = backward(cross_entropy_loss(logits, y, y)[1])
        batch.count_work(rows, steps=int(step > 0), forwards=1, gradients=int(not is_last))
        broken = batch.check(rows, point, logits)
        if not is_last:
            moved = torch.clamp(point + STEP_SIZE * gradient.sign(), lower, upper)
            point = torch.where(broken[:, None, None, None], point, moved)
        result[rows] = point
        if broken.any():
            unbroken = ~broken
            rows, y, point = rows[unbroken], y[unbroken], point[unbroken]
            lower, upper = lower[unbroken], upper[unbroken]
        if not len(rows):
            break
    return result
