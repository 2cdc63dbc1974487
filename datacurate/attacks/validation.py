"""Checks of the arguments of an attack, the model, and the adversarial examples."""

from __future__ import annotations

import torch
from torch import Tensor

from datacurate.attacks.outcome import AttackState
from datacurate.attacks.suites import SUITES
from datacurate.attacks.table import needs_surrogate
from datacurate.errors import DatacurateError, StateError, UsageError
from datacurate.fingerprints import U64

_RADIUS_TOLERANCE = 1e-6  # rounding of pixels near 1 is 6e-8
_RANDOM_LOGITS = 1e-4  # a larger relative difference of two passes means a random model


def require_same(state: AttackState, fingerprint: str) -> None:
    """Raise `StateError` unless a state belongs to the work with this fingerprint.

    Parameters
    ----------
    state : AttackState
    fingerprint : str

    Raises
    ------
    StateError
        If the state has another fingerprint.
    """
    if state["fingerprint"] != fingerprint:
        raise StateError(
            "the saved state belongs to another model, data, seed, radius or suite",
            expected=fingerprint,
            got=state["fingerprint"],
            hint="start this evaluation again, or resume it with the settings it was started with",
        )


def require_surrogate(suite: str, surrogate: object | None) -> None:
    """Raise `UsageError` unless there is a surrogate exactly if the suite needs one.

    Parameters
    ----------
    suite : str
    surrogate : object, optional
        A network, or the path of its checkpoint.

    Raises
    ------
    UsageError
        If a surrogate is missing or not needed.
    UnknownNameError
        If there is no such suite.
    """
    if needs_surrogate(suite) != (surrogate is not None):
        suites = ", ".join(name for name in SUITES if needs_surrogate(name))
        raise UsageError(
            f"only the suite {suites} has a surrogate, and it needs one",
            expected="a surrogate" if surrogate is None else "no surrogate",
            got=f"suite {suite}",
            hint=f"--suite {suites} --surrogate FILE",
        )


def require_pixels(x: Tensor, y: Tensor, keys: U64) -> None:
    """Raise `UsageError` unless images, labels and keys fit together and are in range.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    y : Tensor, shape (N,)
    keys : ndarray of uint64, shape (N,)

    Raises
    ------
    UsageError
        If shapes differ, there are no images, or they are not pixels in [0, 1].
    """
    if x.ndim != 4 or len(x) == 0 or y.shape != (len(x),) or keys.shape != (len(x),):
        raise UsageError(
            "images, labels and keys do not fit together",
            expected="(N, C, H, W) images, N labels and N keys, N > 0",
            got=f"{tuple(x.shape)}, {tuple(y.shape)} and {keys.shape}",
        )
    if not x.is_floating_point() or not 0 <= float(x.min()) <= float(x.max()) <= 1:
        raise UsageError(
            "the images are not pixels in [0, 1]",
            expected="floating point values in [0, 1]",
            got=f"{x.dtype} in [{x.min().item()}, {x.max().item()}]",
        )


def require_logits(logits: Tensor, again: Tensor, y: Tensor) -> None:
    """Raise unless outputs are logits for the labels, and the same in a second pass.

    Parameters
    ----------
    logits, again : Tensor of float32, shape (N, K)
        Of two passes over the same images.
    y : Tensor of int64
        All labels.

    Raises
    ------
    UsageError
        If the outputs do not fit the labels.
    DatacurateError
        If the two passes differ.
    """
    if logits.ndim != 2 or int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise UsageError(
            "the model's outputs do not fit the labels",
            expected=f"logits of shape (N, K) with K > {int(y.max())}, and labels from 0",
            got=f"shape {tuple(logits.shape)}, labels from {int(y.min())}",
        )
    scale = float(logits.norm(dim=1).max()) + 1e-10
    difference = float((logits - again).norm(dim=1).max())
    if difference > _RANDOM_LOGITS * scale:
        raise DatacurateError(
            "the model gives different logits for the same images a second time",
            expected=f"a difference of at most {_RANDOM_LOGITS:g} of the logits",
            got=f"{difference / scale:.2g}",
            hint="evaluate it without its randomness; these suites cannot measure a random model",
        )


def require_finite(logits: Tensor) -> None:
    """Raise unless all logits are finite.

    Parameters
    ----------
    logits : Tensor

    Raises
    ------
    DatacurateError
        If one is not.
    """
    if not torch.isfinite(logits).all():
        raise DatacurateError(
            "the model's logits are not finite, so no attack on it means anything",
            expected="finite logits",
            got=f"{int((~torch.isfinite(logits)).sum())} that are not",
            hint="evaluate a checkpoint from before its training diverged",
        )


def require_within(attack: str, adversarial: Tensor, x: Tensor, radius: float) -> None:
    """Raise if adversarial examples are outside the ball or the pixel range.

    Parameters
    ----------
    attack : str
        For the message.
    adversarial, x : Tensor, shape (N, C, H, W)
        Adversarial examples and their images.
    radius : float
        In pixel units.

    Raises
    ------
    DatacurateError
        If one is outside: the attack itself is wrong.
    """
    if not len(x):
        return
    distance = float((adversarial - x).abs().max())
    low, high = float(adversarial.min()), float(adversarial.max())
    if not (distance <= radius + _RADIUS_TOLERANCE and low >= 0 and high <= 1):
        raise DatacurateError(
            f"{attack} claims adversarial examples that are not allowed",
            expected=f"within {radius:.6f} of the image, pixels in [0, 1]",
            got=f"distance {distance:.6f}, pixels in [{low:.6f}, {high:.6f}]",
            hint="report this: the attack itself is wrong",
        )
