"""Measures of examples by a trained network (Dong et al., Data Quality Matters, appendix B).

They are computed on unaugmented images with running batch statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from datacurate.attacks.frozen import device_of, frozen
from datacurate.attacks.minimum_perturbation import minimum_perturbation
from datacurate.attacks.pgd import pgd
from datacurate.data.batches import as_pixels
from datacurate.errors import CheckpointError, UnknownNameError
from datacurate.fingerprints import seed64
from datacurate.recipes import Attack, Execution
from datacurate.training.devices import autocast

Scores = dict[str, npt.NDArray[np.float32]]

MEASURES = ("clean_probability", "margin", "el2n", "minimum_perturbation")
"""Names that `measure` accepts."""

BATCH = 500
"""Number of examples that are measured at a time."""


def check_names(names: Sequence[str]) -> None:
    """Raise `UnknownNameError` unless there are measures of these names."""
    for name in names:
        if name not in MEASURES:
            raise UnknownNameError("measure", name, MEASURES)


def measure(
    net: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    *,
    cap: int,
    execution: Execution,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Return measures of examples under one network.

    ``clean_probability``
        True-class probability, in [0, 1] (Data Quality Matters, appendix B.1).
    ``minimum_perturbation``
        Smallest ℓ∞ radius, in whole 1/255, at which I-FGSM with steps of 1/255 changes the
        prediction; an upper bound (Data Quality Matters, appendix B.2). `cap` + 1 means more
        than `cap`, so that means over runs stay finite.
    ``margin``
        True-class logit minus the largest other one.
    ``el2n``
        ‖softmax − one-hot label‖₂, in [0, √2]. It is EL2N (Paul et al., 2021,
        https://arxiv.org/abs/2107.07075, section 3) if the network is from early in standard
        training; the paper averages over several networks.

    Parameters
    ----------
    net : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    names : sequence of str
    cap : int
        Largest perturbation tried, in 1/255.
    execution : Execution
        Decided for this machine.
    progress : callable, optional
        ``progress(examples_done, examples)`` after each batch.

    Returns
    -------
    dict of str to ndarray of float32, shape (N,)

    Raises
    ------
    UnknownNameError
        For a measure that does not exist.
    CheckpointError
        If the network has too few classes for the labels, or if its values are not finite.
    """
    check_names(names)
    found = {name: np.empty(len(labels), dtype=np.float32) for name in names}
    device = device_of(net, torch.empty(0))
    for start in range(0, len(labels), BATCH):
        rows = slice(start, start + BATCH)
        x = as_pixels(torch.from_numpy(images[rows]).to(device))
        y = torch.from_numpy(labels[rows]).to(device)
        with autocast(execution):
            with frozen(net), torch.no_grad():
                logits = net(x).float()
            _check_logits(logits, y)
            for name in names:
                values = (
                    _perturbation(net, x, cap)
                    if name == "minimum_perturbation"
                    else _OF_LOGITS[name](logits, y)
                )
                found[name][rows] = values.cpu().numpy()
        if progress is not None:
            progress(min(start + BATCH, len(labels)), len(labels))
    return found


def probability_under_attack(
    net: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    attack: Attack,
    execution: Execution,
) -> npt.NDArray[np.float32]:
    """Return the true-class probability, in [0, 1], of each example under attack.

    Parameters
    ----------
    net : Module
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    attack : Attack
        A random start is the same in every call.
    execution : Execution
        Decided for this machine.
    """
    found = np.empty(len(labels), dtype=np.float32)
    device = device_of(net, torch.empty(0))
    for start in range(0, len(labels), BATCH):
        rows = slice(start, start + BATCH)
        y = torch.from_numpy(labels[rows]).to(device)
        with autocast(execution):
            x = pgd(
                net,
                as_pixels(torch.from_numpy(images[rows]).to(device)),
                y,
                radius=attack.radius / 255,
                step=attack.step / 255,
                steps=attack.steps,
                start=attack.start,
                generator=torch.Generator().manual_seed(seed64("final attack", start)),
            )
            with frozen(net), torch.no_grad():
                found[rows] = _true_class_probability(net(x).float(), y).cpu().numpy()
    return found


def _perturbation(net: nn.Module, x: Tensor, cap: int) -> Tensor:
    distance = minimum_perturbation(net, x, cap=cap / 255) * 255
    # Pixels and steps are multiples of 1/255, so distances are too, except for rounding.
    return torch.where(distance.isinf(), float(cap + 1), distance.round())


def _true_class_probability(logits: Tensor, y: Tensor) -> Tensor:
    return logits.softmax(dim=1).gather(1, y[:, None])[:, 0].clamp(0, 1)


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    others = logits.scatter(1, y[:, None], float("-inf")).amax(dim=1)
    return logits.gather(1, y[:, None])[:, 0] - others


def _el2n(logits: Tensor, y: Tensor) -> Tensor:
    error = logits.softmax(dim=1) - functional.one_hot(y, logits.shape[1])
    return error.square().sum(dim=1).sqrt()


_OF_LOGITS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clean_probability": _true_class_probability,
    "margin": _margin,
    "el2n": _el2n,
}


def _check_logits(logits: Tensor, y: Tensor) -> None:
    if logits.ndim != 2 or len(logits) != len(y) or int(y.max()) >= logits.shape[1]:
        raise CheckpointError(
            "the network does not fit the data",
            expected=f"logits of shape ({len(y)}, {int(y.max()) + 1} or more)",
            got=str(tuple(logits.shape)),
        )
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            "the network gives logits that are not finite", hint="its training may have diverged"
        )
