"""What each arm is trained on, and what is held out of all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datacurate.data import DataSet, ImageData
from datacurate.errors import UsageError
from datacurate.fingerprints import U64, mix64, seed64
from datacurate.ranks.selection import keep_per_class

I64 = npt.NDArray[np.int64]


def held_out_rows(data: DataSet, fraction: float) -> I64:
    """Return a fixed, class-balanced fraction of the trainable rows, drawn by content hash.

    Equally many of each class, those whose mixed hash is smallest, so that the same images are
    held out whatever their order.

    Raises
    ------
    UsageError
        If a class would be left without a held-out or without a trained example.
    """
    rows = data.trainable
    labels = data.train.labels[rows]
    classes = data.train.identity.classes
    each = max(1, round(fraction * len(rows) / classes))
    counts = np.bincount(labels, minlength=classes)
    if counts.min() <= each:
        scarce = int(counts.argmin())
        raise UsageError(
            f"class {data.train.identity.class_names[scarce]!r} is too small to hold out {each}",
            expected=f"more than {each} examples of each class",
            got=str(int(counts[scarce])),
            hint="--set select=test chooses the best checkpoint on the test examples instead",
        )
    lot = mix64(seed64("held-out"), content_of(data.train)[rows])
    order = rows[np.argsort(lot, kind="stable")]
    return keep_per_class(order, data.train.labels, np.full(classes, each))


def arm_rows(
    arm: str, kept: I64, available: I64, labels: npt.NDArray[np.int64], content: U64, seed: int
) -> I64:
    """Return the rows that an arm is trained on, ascending.

    Parameters
    ----------
    arm : str
        See `datacurate.recipes.VerifyRecipe`.
    kept, available : ndarray of int64
        Of the available rows, those that were kept.
    labels, content : ndarray, shape (N,)
        Labels and content hashes of all rows.
    seed : int
        The random arms are drawn anew for every seed, so that the verdict does not hang on one
        lucky draw.
    """
    if arm == "all":
        return available
    if arm == "kept":
        return kept
    lot = mix64(seed64("arm", seed), content[available], available.astype(np.uint64))
    order = available[np.argsort(lot, kind="stable")]
    if arm == "random":
        return np.sort(order[: len(kept)])
    return keep_per_class(order, labels, np.bincount(labels[kept], minlength=int(labels.max()) + 1))


def refuse_lost_class(kept: I64, data: DataSet) -> None:
    """Raise if a class has no kept example: no network could learn it.

    Raises
    ------
    UsageError
    """
    identity = data.train.identity
    counts = np.bincount(data.train.labels[kept], minlength=identity.classes)
    lost = np.flatnonzero(counts == 0)
    if len(lost):
        raise UsageError(
            f"{len(lost)} classes have no kept example",
            got=", ".join(repr(identity.class_names[c]) for c in lost[:5]),
            hint="prune with --balanced or a --floor",
        )


def content_of(images: ImageData) -> U64:
    """Return the content hashes of images that are at hand, shape (N,)."""
    content = images.identity.content_hash
    assert content is not None  # only data without images has none
    return content
