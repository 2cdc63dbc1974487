"""Scores of one run from its record of which example was right at which epoch.

The record is packed: row i of a uint8 array of shape (N, ceil(T/8)) holds example i's T epochs,
the first in the highest bit of the first byte (the order of `numpy.packbits`), the bits after the
last epoch 0. Every score is computed on the packed bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError

U8 = npt.NDArray[np.uint8]

NEVER = -1
"""First learned epoch and forgetting events of an example that was never right."""

_LEADING_ZEROS = np.array([8 - value.bit_length() for value in range(256)], dtype=np.int32)


@dataclass(frozen=True)
class RunRecord:
    """What one finished training recorded of the M examples that it was trained on.

    Attributes
    ----------
    epochs : int
        T, 1 or more.
    correct : ndarray of uint8, shape (M, ceil(T/8))
        Whether the adversarial prediction was right at each epoch, packed; see `pack`.
    probability : ndarray of float32, shape (M,)
        Mean over epochs of the adversarial example's true-class probability, in [0, 1].
    margin : ndarray of float32, shape (M,)
        Mean over epochs of the adversarial example's true-class logit less the largest other one:
        the area under the margin (Pleiss et al., 2020), under attack.
    measures : mapping of str to ndarray, shape (M,)
        Further measures, by the name of their column in the rank file.
    """

    epochs: int
    correct: U8
    probability: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    measures: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def packed_width(epochs: int) -> int:
    """Return how many bytes hold one example's record of so many epochs."""
    return -(-epochs // 8)


def pack(correct: npt.NDArray[np.bool_]) -> U8:
    """Return a record of shape (N, T) packed to shape (N, ceil(T/8))."""
    return np.packbits(correct, axis=1)


def unpack(packed: U8, epochs: int) -> npt.NDArray[np.bool_]:
    """Return a packed record as bool of shape (N, T)."""
    check_record(packed, epochs)
    return np.unpackbits(packed, axis=1, count=epochs).view(np.bool_)


def check_record(packed: U8, epochs: int) -> None:
    """Raise unless a packed record has the shape and the empty last bits that T epochs give it.

    Raises
    ------
    DataError
    """
    if epochs < 1 or packed.ndim != 2 or packed.shape[1] != packed_width(epochs):
        raise DataError(
            f"a record of {epochs} epochs has the wrong shape",
            expected=f"(N, {packed_width(epochs)})" if epochs >= 1 else "at least one epoch",
            got=str(packed.shape),
        )
    unused = np.uint8(0xFF >> (epochs % 8)) if epochs % 8 else np.uint8(0)
    if np.any(packed[:, -1] & unused):
        raise DataError(f"a record of {epochs} epochs has bits set after its last epoch")


def correct_epochs(packed: U8) -> npt.NDArray[np.int32]:
    """Return at how many epochs each example was right, shape (N,)."""
    counts: npt.NDArray[np.int32] = np.bitwise_count(packed).sum(axis=1, dtype=np.int32)
    return counts


def instability(packed: U8, epochs: int) -> npt.NDArray[np.float32]:
    """Return the learning instability, 1 − (epochs right under attack)/T (Dong et al. 2021, Eq. 1).

    Parameters
    ----------
    packed : ndarray of uint8, shape (N, ceil(T/8))
    epochs : int
        T, below 2²³, so that different counts stay different in float32.

    Returns
    -------
    ndarray of float32, shape (N,)
        In [0, 1]; high is problematic.
    """
    check_record(packed, epochs)
    return (1 - correct_epochs(packed) / epochs).astype(np.float32)


def first_learned(packed: U8, epochs: int) -> npt.NDArray[np.int32]:
    """Return the first epoch, counted from 0, at which each example was right, or `NEVER`."""
    check_record(packed, epochs)
    byte = (packed != 0).argmax(axis=1)
    value = packed[np.arange(len(packed)), byte]
    first = 8 * byte.astype(np.int32) + _LEADING_ZEROS[value]
    return np.where(value == 0, np.int32(NEVER), first)


def forgetting_events(packed: U8, epochs: int) -> npt.NDArray[np.int32]:
    """Return how often each example turned from right to wrong between two epochs.

    An example that was never right has `NEVER`: it is not an unforgettable one, whose count is 0.
    """
    check_record(packed, epochs)
    following = packed << 1
    following[:, :-1] |= packed[:, 1:] >> 7
    lost = np.bitwise_count(packed & ~following).sum(axis=1, dtype=np.int32)
    # The bit after the last epoch is 0, but being right at the end is not forgetting.
    last = epochs - 1
    lost -= (packed[:, last // 8] >> (7 - last % 8)) & 1
    return np.where(packed.any(axis=1), lost, np.int32(NEVER))
