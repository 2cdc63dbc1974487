"""Minimum perturbation: the distance from an example to a different prediction.

Dong et al. 2021 and Dong et al., Data Quality Matters, "Minimum perturbation": I-FGSM with steps of
1/255, an upper bound of the distance to the decision boundary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datacurate.attacks.frozen import frozen
from datacurate.attacks.pgd import summed_cross_entropy


def minimum_perturbation(
    model: nn.Module, x: Tensor, *, cap: float, step: float = 1 / 255
) -> Tensor:
    """Return the ℓ∞ distance at which iterated signed gradient steps first change the prediction.

    Steps of fixed size raise the cross-entropy of the class that the model predicts for the
    example, whether that class is right or wrong. After t steps the iterate is at most t steps
    away. The distance of the first iterate with a different prediction is an upper bound of the
    smallest perturbation. Examples with a different prediction are not attacked further.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor, shape (N, C, H, W)
        Pixels in [0, 1].
    cap : float
        Largest distance to try, in pixel units.
    step : float
        In pixel units.

    Returns
    -------
    Tensor of float32, shape (N,)
        Distances in pixel units, in (0, cap]; infinite where the prediction does not change up to
        the cap.
    """
    origin = iterate = x.detach().float()
    distance = torch.full((len(x),), torch.inf, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    predicted = rows  # set by the first pass
    steps = round(cap / step)
    with frozen(model):
        for step_number in range(steps + 1):
            iterate = iterate.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(iterate)
                predicted = logits.argmax(dim=1) if step_number == 0 else predicted
                loss = summed_cross_entropy(logits, predicted)
            changed = logits.argmax(dim=1) != predicted
            distances = (iterate.detach() - origin).abs().flatten(1).amax(dim=1)
            distance[rows[changed]] = distances[changed]
            if step_number == steps or changed.all():
                break
            (gradient,) = torch.autograd.grad(loss, iterate)
            iterate = iterate.detach().add(gradient.sign(), alpha=step).clamp_(0, 1)
            unchanged = ~changed
            rows, predicted = rows[unchanged], predicted[unchanged]
            origin, iterate = origin[unchanged], iterate[unchanged]
    return distance
