"""PGD-k on examples that leave as they break, from the image itself.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
(https://arxiv.org/abs/1706.06083); k and step as in S1, appendix B.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.apgd import cross_entropies
from datacurate.attacks.attack_batch import AttackBatch

STEP = 2 / 255


def signed_steps(batch: AttackBatch, *, steps: int) -> Tensor:
    """Take steps of 2/255 along the sign of the cross-entropy's gradient, within the ball.

    Every iterate counts, not the last alone.

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
    for taken in range(steps + 1):
        last = taken == steps
        if last:
            logits = batch.model.search_logits(point)
        else:
            logits, backward = batch.model.differentiable(point)
            gradient = backward(cross_entropies(logits, y, y)[1])
        batch.count_work(rows, steps=int(taken > 0), forwards=1, gradients=int(not last))
        hit = batch.check(rows, point, logits)
        if not last:
            moved = torch.clamp(point + STEP * gradient.sign(), lower, upper)
            point = torch.where(hit[:, None, None, None], point, moved)
        result[rows] = point
        if hit.any():
            left = ~hit
            rows, y, point = rows[left], y[left], point[left]
            lower, upper = lower[left], upper[left]
        if not len(rows):
            break
    return result
