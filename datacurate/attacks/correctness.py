"""Find the examples that a model classifies correctly under PGD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datacurate.attacks.frozen import device_of, frozen
from datacurate.attacks.pgd import pgd
from datacurate.recipes import Attack

AttackProgress = Callable[[str, int, int], None]
"""Called as ``progress(attack, examples_done, examples)``."""


def correct_under_pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    *,
    generator: torch.Generator | None = None,
    batch_size: int = 250,
    progress: AttackProgress | None = None,
) -> npt.NDArray[np.bool_]:
    """Return whether each example is classified correctly under PGD.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor of float32, shape (N, C, H, W)
        Moved to the model's device batch by batch.
    y : Tensor of int64, shape (N,)
    attack : Attack
        Radius and step are in 1/255.
    generator : Generator, optional
        For a random start; see `datacurate.attacks.pgd.pgd`.
    batch_size : int
    progress : callable, optional
        ``progress(attack, examples_done, examples)`` after each batch.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    device = device_of(model, x)
    correct = np.empty(len(x), dtype=np.bool_)
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        pixels, labels = x[rows].to(device), y[rows].to(device)
        adversarial = pgd(
            model,
            pixels,
            labels,
            radius=attack.radius / 255,
            step=attack.step / 255,
            steps=attack.steps,
            start=attack.start,
            generator=generator,
        )
        with torch.no_grad(), frozen(model):
            correct[rows] = (model(adversarial).argmax(dim=1) == labels).cpu().numpy()
        if progress is not None:
            progress(f"pgd-{attack.steps}", min(start + batch_size, len(x)), len(x))
    return correct
