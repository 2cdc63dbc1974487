"""PGD-k on examples that leave as they break, from the image itself.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
(https://arxiv.org/abs/1706.06083); k and step as in S1, appendix B.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from datacurate.attacks.budget import Hunt, rows_of

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
        point = point.detach().requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            logits = hunt.victim.quick(point)
            loss = functional.cross_entropy(logits, y, reduction="sum")
        hunt.spend(rows, steps=int(taken > 0), forwards=1, gradients=int(not last))
        hit = hunt.claim(rows, point.detach(), logits.detach().argmax(dim=1) != y)
        if not last:
            (gradient,) = torch.autograd.grad(loss, point)
            moved = torch.clamp(point.detach() + STEP * gradient.sign(), lower, upper)
            point = torch.where(hit[:, None, None, None], point.detach(), moved)
        result[rows] = point.detach()
        if hit.any():
            left = ~hit
            rows, y, point = rows[left], y[left], point.detach()[left]
            lower, upper = lower[left], upper[left]
        if not len(rows):
            break
    return result
