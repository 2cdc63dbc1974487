"""N-FGSM: single-step adversarial examples from noise that is larger than the ball.

de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial Training"
(https://arxiv.org/abs/2202.01181).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datacurate.attacks.frozen import frozen
from datacurate.attacks.pgd import summed_cross_entropy


def noisy_fgsm(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    noise: float,
    step: float,
    generator: torch.Generator,
) -> Tensor:
    """Return N-FGSM examples: uniform noise, then one signed gradient step.

    The result is not projected onto a ball: it can be `noise` + `step` away from `x`. The model is
    attacked in eval mode and restored.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor, shape (N, C, H, W)
        Pixels in [0, 1].
    y : Tensor of int64, shape (N,)
    noise : float
        Half width of the uniform noise, in pixel units; twice the radius in the paper.
    step : float
        In pixel units; the radius in the paper.
    generator : Generator
        CPU generator for the noise.

    Returns
    -------
    Tensor of float32, shape (N, C, H, W)
        In [0, 1]; detached.
    """
    x = x.detach().float()
    offset = torch.rand(x.shape, generator=generator).mul_(2 * noise).sub_(noise)
    start = (x + offset.to(x.device)).clamp_(0, 1).requires_grad_()
    with frozen(model), torch.enable_grad():
        value = summed_cross_entropy(model(start), y)
        (gradient,) = torch.autograd.grad(value, start)
    return start.detach().add(gradient.sign(), alpha=step).clamp_(0, 1)
