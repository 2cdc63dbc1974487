"""Choose test examples for data without a test split: a tenth of each class, by content hash."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datacurate.fingerprints import U64, mix64, seed64

_RATIO = 10  # one test example for every ten examples of a class


def borrowed_rows(content_hash: U64, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rows that serve as test examples, ascending.

    Take the examples of each class with the smallest mixed content hash: a tenth, rounded, at
    least one. The choice depends neither on the order of the data nor on a seed. Copies of one
    image stay together, so the test never contains a copy of a training image. A class gives no
    test examples if no training example would remain.

    Parameters
    ----------
    content_hash : ndarray of uint64, shape (N,)
    labels : ndarray of int64, shape (N,)
        0 to C-1.

    Returns
    -------
    ndarray of int64, shape (M,)
    """
    keys = mix64(content_hash, seed64("borrowed test examples"))
    by_class = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = max(1, round(len(rows) / _RATIO))
        threshold = np.partition(keys[rows], count - 1)[count - 1]
        test_rows = rows[keys[rows] <= threshold]
        if len(test_rows) < len(rows):
            by_class.append(test_rows)
    return np.sort(np.concatenate(by_class)) if by_class else np.empty(0, dtype=np.int64)
