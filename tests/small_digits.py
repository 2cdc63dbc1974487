"""A few digits, for tests that train in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datacurate.data import load


def small_digits(folder: Path, tested: int) -> Path:
    """Write a hundred and thirty digits to train on and so many to test on; return the file."""
    whole = load("digits")
    path = folder / "small.npz"
    np.savez(
        path,
        images=whole.train.images[:130],
        labels=whole.train.labels[:130],
        test_images=whole.test.images[:tested],
        test_labels=whole.test.labels[:tested],
    )
    return path
