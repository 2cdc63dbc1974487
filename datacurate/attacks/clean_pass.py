"""The forward pass over the unperturbed examples, before any attack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datacurate.attacks.attacked_model import Predict
from datacurate.attacks.precision import full_float32
from datacurate.attacks.validation import require_finite, require_logits

_PROBABILITY_TOLERANCE = 1e-5  # rounding within which outputs look like probabilities


@dataclass(frozen=True)
class CleanPass:
    """What a model says about the unperturbed examples.

    Attributes
    ----------
    correct : ndarray of bool, shape (N,)
        Whether each example is classified correctly.
    classes : int
        Number of logits.
    warnings : list of str
        Signs that the outputs are not logits.
    """

    correct: npt.NDArray[np.bool_]
    classes: int
    warnings: list[str]


def clean_pass(
    predict: Predict, x: Tensor, y: Tensor, batch_size: int, device: torch.device
) -> CleanPass:
    """Classify the unperturbed examples in float32, and check that the outputs are logits.

    Parameters
    ----------
    predict : callable
        The model.
    x : Tensor of float32, shape (N, C, H, W)
        Pixels in [0, 1].
    y : Tensor of int64, shape (N,)
    batch_size : int
    device : device
        Where the model computes.

    Returns
    -------
    CleanPass

    Raises
    ------
    UsageError
        If the outputs do not fit the labels.
    DatacurateError
        If the logits are not finite, or not the same a second time.
    """
    correct = np.zeros(len(x), dtype=np.bool_)
    classes = 0
    probabilities = True
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        pixels = x[rows].to(device)
        with full_float32(device):
            logits = predict(pixels)
            if start == 0:
                require_logits(logits, predict(pixels), y)
        require_finite(logits)
        correct[rows] = (logits.argmax(dim=1).cpu() == y[rows].cpu()).numpy()
        classes = logits.shape[1]
        tolerance = _PROBABILITY_TOLERANCE
        probabilities &= bool(
            (logits.min() > -tolerance) & ((logits.sum(1) - 1).abs() < tolerance).all()
        )
    warnings = ["the outputs look like probabilities; the attacks need logits"]
    return CleanPass(correct, classes, warnings if probabilities else [])
