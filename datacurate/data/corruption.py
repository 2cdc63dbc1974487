"""Plant wrong labels on purpose, to see whether ranks find them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from datacurate.data.images import DataSet
from datacurate.errors import UsageError
from datacurate.fingerprints import label_fingerprint, seed64


def flip_labels(data: DataSet, fraction: float, seed: int) -> tuple[DataSet, npt.NDArray[np.int64]]:
    """Give some of the trainable examples the label of another class.

    Parameters
    ----------
    data : DataSet
        It stays as it is.
    fraction : float
        Of the trainable examples, 0 to 1; rounded to whole examples.
    seed : int
        Decides which examples, and which of the other classes each gets (all equally likely).

    Returns
    -------
    DataSet
        With its training labels changed, and their fingerprint; images and test split are shared.
    ndarray of int64, shape (M,)
        The rows of the training split whose labels are wrong now, ascending.

    Raises
    ------
    UsageError
        If the fraction is not one.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(
            "the share of labels to flip is not a fraction", expected="0 to 1", got=f"{fraction}"
        )
    train = data.train
    chance = np.random.default_rng(seed64("flip labels", seed))
    trainable = data.trainable
    rows = np.sort(chance.choice(trainable, round(fraction * len(trainable)), replace=False))
    classes = train.identity.classes
    labels = train.labels.copy()
    # A step of 1 … C-1 around the circle of classes never ends where it began.
    labels[rows] = (labels[rows] + chance.integers(1, classes, len(rows))) % classes
    identity = replace(train.identity, labels=labels, label_fingerprint=label_fingerprint(labels))
    source = {**train.source, "flipped_labels": f"{len(rows)}, seed {seed}"}
    flipped = replace(train, labels=labels, identity=identity, source=source)
    return replace(data, train=flipped), rows
