"""The official order of CIFAR-10, restored in copies that keep its batches but shuffle them."""

from __future__ import annotations

import itertools

import numpy as np

from datacurate.data.known import Known
from datacurate.data.layouts import Split
from datacurate.fingerprints import label_fingerprint

_BATCHES = 5


def in_official_order(split: Split, known: Known) -> Split:
    """Return a training split in its official order, if only the order of batches is another.

    A copy made by walking the official archive has its five batches in the order in which they
    were packed, which is not that of their numbers. Labels tell: fifty thousand of them agree with
    the official fingerprint in one order of the batches only.

    Parameters
    ----------
    split : Split
        The training split of a known data set, as read.
    known : Known

    Returns
    -------
    Split
        The same object where there is nothing to restore.
    """
    published = known.official.get("train")
    size = len(split.labels)
    if published is None or size != known.sizes["train"] or size % _BATCHES:
        return split
    if label_fingerprint(split.labels) == published.labels:
        return split
    batches = np.arange(size).reshape(_BATCHES, -1)
    for order in itertools.permutations(range(_BATCHES)):
        rows = batches[list(order)].ravel()
        if label_fingerprint(split.labels[rows]) == published.labels:
            return Split(split.images[rows], split.labels[rows])
    return split
