"""PGD-k on examples that leave as they break, from the image itself.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
(https://arxiv.org/abs/1706.06083); k and step as in S1, appendix B.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.apgd import cross_entropies
from datacurate.attacks.attack_batch import Hunt, rows_of

STEP = 2 / 255


def signed_steps(hunt: Hunt, *, steps: int) -> Tensor:
    """Take steps of 2/255 along the sign of the cross-entropy's gradient, within the ball.

    Every iterate counts, not the last alone.

    Parameters
    ----------
    hunt : Hunt
    steps : int

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        The last iterate of each example.
    """
    result = hunt.x.clone()
    rows = rows_of(hunt)[~hunt.broken]
    point, y = hunt.x[rows], hunt.y[rows]
    lower, upper = hunt.lower[rows], hunt.upper[rows]
    for taken in range(steps + 1):
        last = taken == steps
        if last:
            logits = hunt.victim.quick(point)
        else:
            logits, pull = hunt.victim.differentiable(point)
            gradient = pull(cross_entropies(logits, y, y)[1])
        hunt.spend(rows, steps=int(taken > 0), forwards=1, gradients=int(not last))
        hit = hunt.judge(rows, point, logits)
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
