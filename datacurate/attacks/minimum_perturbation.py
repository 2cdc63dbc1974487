"""How far an example is from another prediction.

S0 and S1, "Minimum perturbation": I-FGSM with steps of 1/255, an upper bound of the distance to the
decision boundary.
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

    From each example, steps of fixed size raise the cross-entropy of the class that the model
    predicts there, right or wrong; after t of them the iterate lies within t steps. The distance of
    the first iterate with another prediction bounds the smallest perturbation from above. Examples
    that are done are attacked no further.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor, shape (N, C, H, W)
        Pixels in [0, 1].
    cap : float
        Largest distance tried, in pixel units.
    step : float
        In pixel units.

    Returns
    -------
    Tensor of float32, shape (N,)
        Distances in pixel units, in (0, cap]; infinite where the prediction held up to the cap.
    """
    origin = iterate = x.detach().float()
    distance = torch.full((len(x),), torch.inf, device=x.device)
    rows = torch.arange(len(x), device=x.device)
    predicted = rows  # of the first pass, below
    steps = round(cap / step)
    with frozen(model):
        for taken in range(steps + 1):
            iterate = iterate.detach().requires_grad_()
            with torch.enable_grad():
                logits = model(iterate)
                predicted = logits.argmax(dim=1) if taken == 0 else predicted
                loss = summed_cross_entropy(logits, predicted)
            changed = logits.argmax(dim=1) != predicted
            reached = (iterate.detach() - origin).abs().flatten(1).amax(dim=1)
            distance[rows[changed]] = reached[changed]
            if taken == steps or changed.all():
                break
            (gradient,) = torch.autograd.grad(loss, iterate)
            iterate = iterate.detach().add(gradient.sign(), alpha=step).clamp_(0, 1)
            held = ~changed
            rows, predicted = rows[held], predicted[held]
            origin, iterate = origin[held], iterate[held]
    return distance
