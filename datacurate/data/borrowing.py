"""Test examples for data without a test split: a tenth of each class, drawn by content."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datacurate.fingerprints import U64, mix64, seed64

_SHARE = 10  # one example in so many


def borrowed_rows(content_hash: U64, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rows that serve as test examples, ascending.

    Of each class the examples with the smallest hashed content are drawn: a tenth, rounded, and at
    least one. Neither the order of the data nor chance has a part in it. Copies of one image go
    together, so that none is trained on while its twin is tested; and a class of which nothing
    would be left to train on lends nothing.

    Parameters
    ----------
    content_hash : ndarray of uint64, shape (N,)
    labels : ndarray of int64, shape (N,)

    Returns
    -------
    ndarray of int64, shape (M,)
    """
    keys = mix64(content_hash, seed64("borrowed test examples"))
    drawn = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        share = max(1, round(len(rows) / _SHARE))
        last = np.partition(keys[rows], share - 1)[share - 1]
        lent = rows[keys[rows] <= last]
        if len(lent) < len(rows):
            drawn.append(lent)
    return np.sort(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.int64)
