"""Give examples wrong labels on purpose, to test whether ranks find them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from datacurate.data.images import DataSet
from datacurate.errors import UsageError
from datacurate.fingerprints import label_fingerprint, seed64


def flip_labels(data: DataSet, fraction: float, seed: int) -> tuple[DataSet, npt.NDArray[np.int64]]:
    """Return a data set in which some trainable examples have the label of another class.

    Parameters
    ----------
    data : DataSet
        Not changed.
    fraction : float
        Share of the trainable examples, 0 to 1; rounded to whole examples.
    seed : int
        Seed for the choice of examples and of their new classes; all other classes are equally
        likely.

    Returns
    -------
    DataSet
        Has new training labels and their fingerprint; shares images and test split with `data`.
    ndarray of int64, shape (M,)
        The training rows whose labels were changed, ascending.

    Raises
    ------
    UsageError
        If `fraction` is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise UsageError(
            "the fraction of labels to flip is out of range", expected="0 to 1", got=f"{fraction}"
        )
    train = data.train
    generator = np.random.default_rng(seed64("flip labels", seed))
    trainable = data.trainable
    rows = np.sort(generator.choice(trainable, round(fraction * len(trainable)), replace=False))
    classes = train.identity.classes
    labels = train.labels.copy()
    # Adding 1 to C-1 modulo C never gives the same class.
    labels[rows] = (labels[rows] + generator.integers(1, classes, len(rows))) % classes
    identity = replace(train.identity, labels=labels, label_fingerprint=label_fingerprint(labels))
    source = {**train.source, "flipped_labels": f"{len(rows)}, seed {seed}"}
    flipped = replace(train, labels=labels, identity=identity, source=source)
    return replace(data, train=flipped), rows
