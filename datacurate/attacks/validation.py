"""What must hold for an attack to mean anything: of its arguments, the model and its claims."""

from __future__ import annotations

from torch import Tensor

from datacurate.attacks.outcome import AttackState
from datacurate.errors import DatacurateError, StateError, UsageError
from datacurate.fingerprints import U64

_RADIUS_TOLERANCE = 1e-6  # pixels near 1 are rounded to 6e-8
_RANDOM_LOGITS = 1e-4  # difference of two passes, relative to the logits, of a random model


def require_same(state: AttackState, fingerprint: str) -> None:
    """Raise `StateError` unless a state belongs to the work of this fingerprint."""
    if state["fingerprint"] != fingerprint:
        raise StateError(
            "the saved state belongs to another model, data, seed, radius or suite",
            expected=fingerprint,
            got=state["fingerprint"],
            hint="start this evaluation anew, or resume it with what it was started with",
        )


def require_surrogate(suite: str, surrogate: object | None) -> None:
    """Raise `UsageError` unless the suite that needs a surrogate has one, and no other has."""
    if (suite == "transfer") != (surrogate is not None):
        raise UsageError(
            "only the suite transfer has a surrogate, and it needs one",
            expected="a surrogate" if surrogate is None else "no surrogate",
            got=f"suite {suite}",
            hint="--suite transfer --surrogate FILE",
        )


def require_pixels(x: Tensor, y: Tensor, keys: U64) -> None:
    """Raise `UsageError` unless these are pixels, labels and keys of one set of images."""
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
    """Refuse outputs that are no logits for the labels, or not the same a second time."""
    if logits.ndim != 2 or int(y.min()) < 0 or int(y.max()) >= logits.shape[1]:
        raise UsageError(
            "the model's outputs do not fit the labels",
            expected=f"logits of shape (N, K) with K > {int(y.max())}, and labels from 0",
            got=f"shape {tuple(logits.shape)}, labels from {int(y.min())}",
        )
    scale = float(logits.norm(dim=1).max()) + 1e-10
    if float((logits - again).norm(dim=1).max()) > _RANDOM_LOGITS * scale:
        raise DatacurateError(
            "the model gives other logits for the same images a second time",
            hint="evaluate it without its randomness; these suites cannot measure a random model",
        )


def require_within(attack: str, adversarial: Tensor, x: Tensor, radius: float) -> None:
    """Refuse claims outside the ball or the pixel range: the attack itself would be wrong."""
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
