"""scikit-learn's 1,797 handwritten digits: real images that come with a dependency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datacurate.data.known import KNOWN
from datacurate.data.layouts import Layout, Split

# The examples are ordered by writer, so the writers of the last fifth do not occur in the training
# rows. scikit-learn's own examples split the data in the same way.
_TRAIN_ROWS = 1437


def digits() -> Layout:
    """Return the digits as 8×8 greyscale images: 1,437 training and 360 test examples.

    Pixel values 0 to 16 are scaled to 0 to 255: ``round(255 x / 16)``.
    """
    return Layout(
        kind="scikit-learn",
        location=Path("sklearn.datasets.load_digits"),
        train=lambda: _rows(slice(None, _TRAIN_ROWS)),
        test=lambda: _rows(slice(_TRAIN_ROWS, None)),
        class_names=KNOWN["digits"].class_names,
        known_as="digits",
    )


def _rows(rows: slice) -> Split:
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = np.rint(bunch.images[rows] * (255 / 16)).astype(np.uint8)
    return Split(images[..., None], bunch.target[rows].astype(np.int64))
