"""PGD: projected gradient descent in the ℓ∞ ball, for training and measures.

Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks"
(https://arxiv.org/abs/1706.06083). With one step from a uniform start it is the fast gradient sign
method (FGSM) of single-step training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datacurate.attacks.frozen import frozen
from datacurate.errors import UsageError
from datacurate.recipes.fields import Start

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(logits, y)``: a scalar, summed over the examples."""

_GAUSSIAN = 0.001  # standard deviation in pixel units


def summed_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of logits and labels, summed over the batch.

    A mean would divide each example's gradient by the batch size, and bfloat16 would lose small
    gradients.
    """
    return F.cross_entropy(logits, y, reduction="sum")


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    step: float,
    steps: int,
    start: Start,
    generator: torch.Generator | None = None,
    loss: Loss = summed_cross_entropy,
) -> Tensor:
    """Return the last iterate of signed gradient steps in the ball around `x`.

    The model is attacked in eval mode and restored: modes, ``requires_grad``, running statistics
    and gradients. The global random generators are not used. Under autocast the model computes in
    the lower precision, and the iterates stay float32.

    It has more than eight parameters because each is a quantity of the paper that callers vary.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
        Normalisation is part of the model.
    x : Tensor, shape (N, C, H, W)
        Pixels in [0, 1].
    y : Tensor
        Second argument of `loss`; by default labels, int64 of shape (N,).
    radius, step : float
        In pixel units: 8/255 is ``8 / 255``.
    steps : int
        Gradient steps; 0 returns the start.
    start : str
        ``"uniform"``: uniform in the ball, clipped to pixels; ``"zero"``: `x` itself;
        ``"gaussian"``: `x` plus 0.001 · N(0, 1), as in the code of the authors of TRADES.
    generator : Generator, optional
        CPU generator of a random start. The noise is always drawn on the CPU, so that a seed gives
        the same start on every device.
    loss : callable
        ``loss(logits, y)`` is the scalar to raise, a sum over examples.

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        In [0, 1] and within `radius` of `x`; detached.

    Raises
    ------
    UsageError
        For a random start without a generator.
    """
    x = x.detach().float()
    lower, upper = (x - radius).clamp_(0, 1), (x + radius).clamp_(0, 1)
    if start == "zero":
        adversarial = x.clone()
    elif generator is None:
        raise UsageError(f"a {start} start needs a generator", expected="generator=torch.Generator")
    elif start == "gaussian":
        noise = torch.randn(x.shape, generator=generator).mul_(_GAUSSIAN)
        adversarial = torch.clamp(x + noise.to(x.device), lower, upper)
    else:
        noise = torch.rand(x.shape, generator=generator).mul_(2 * radius).sub_(radius)
        adversarial = torch.clamp(x + noise.to(x.device), lower, upper)
    with frozen(model):
        for _ in range(steps):
            adversarial.requires_grad_()
            with torch.enable_grad():
                value = loss(model(adversarial), y)
            (gradient,) = torch.autograd.grad(value, adversarial)
            adversarial = adversarial.detach().add_(gradient.sign(), alpha=step)
            adversarial = torch.clamp(adversarial, lower, upper)
    return adversarial
