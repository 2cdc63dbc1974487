"""Losses that attacks raise, each with its gradient with respect to the logits.

The gradients are written out, so that an attack needs only the backward pass of the model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

LossFunction = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""``loss(logits, labels, targets)``: the loss of each example, (N,), and its gradient, (N, K)."""

DLR_CLASSES = 4
"""Fewest classes for the targeted DLR loss: it uses the 1st, 3rd and 4th largest logit."""

_EPSILON = 1e-12  # keeps the denominator of the DLR loss above zero


def cross_entropy_loss(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each example; `targets` is not used.

    Parameters
    ----------
    logits : Tensor of float32, shape (N, K)
    y, targets : Tensor of int64, shape (N,)
        Labels and target classes.

    Returns
    -------
    loss : Tensor of float32, shape (N,)
    gradient : Tensor of float32, shape (N, K)
        With respect to the logits.
    """
    loss = functional.cross_entropy(logits, y, reduction="none")
    return loss, logits.softmax(dim=1) - _one_hot(y, logits)


def targeted_dlr_loss(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targeted difference-of-logits ratio, which does not depend on their scale.

    Croce and Hein 2020 (https://arxiv.org/abs/2003.01690), Eq. 7. It needs `DLR_CLASSES` classes.

    Parameters
    ----------
    logits : Tensor of float32, shape (N, K)
    y, targets : Tensor of int64, shape (N,)
        Labels and target classes.

    Returns
    -------
    loss : Tensor of float32, shape (N,)
    gradient : Tensor of float32, shape (N, K)
        With respect to the logits.
    """
    highest, classes = logits.topk(4, dim=1)
    spread = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2 + _EPSILON
    difference, difference_gradient = targeted_margin_loss(logits, y, targets)
    first, third, fourth = (_one_hot(classes[:, rank], logits) for rank in (0, 2, 3))
    ratio = difference / spread
    spread_gradient = first - (third + fourth) / 2
    return ratio, (difference_gradient - ratio[:, None] * spread_gradient) / spread[:, None]


def targeted_margin_loss(logits: Tensor, y: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return by how much the target's logit exceeds the label's.

    Parameters
    ----------
    logits : Tensor of float32, shape (N, K)
    y, targets : Tensor of int64, shape (N,)
        Labels and target classes.

    Returns
    -------
    loss : Tensor of float32, shape (N,)
    gradient : Tensor of float32, shape (N, K)
        With respect to the logits.
    """
    difference = logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, y[:, None])[:, 0]
    return difference, _one_hot(targets, logits) - _one_hot(y, logits)


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    """Return 1 at each row's class and 0 elsewhere, with the shape of the logits."""
    return torch.zeros_like(logits).scatter_(1, classes[:, None], 1)
