"""How many examples to keep of each class: equally many, or at least a floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import UsageError
from datacurate.ranks.ranking import I64
from datacurate.selection.amounts import parse_amount

Labels = npt.NDArray[np.integer[Any]]


def keep_per_class(order: I64, labels: Labels, counts: npt.NDArray[np.integer[Any]]) -> I64:
    """Return the first ``counts[c]`` rows of each class c in an order; the result is ascending.

    Parameters
    ----------
    order : ndarray of int64, shape (M,)
        Rows, those to keep first.
    labels : ndarray of int, shape (N,)
    counts : ndarray of int, shape (classes,)
    """
    classes, place = _class_places(order, labels)
    return ascending(order[place < counts[classes]], len(labels))


def balanced_counts(order: I64, labels: Labels, keep: int, class_names: Sequence[str] = ()) -> I64:
    """Return how many examples to keep of each class so that all classes keep equally many.

    If the number of classes does not divide `keep`, the classes whose next example comes first in
    the order keep one more. A class without examples in the order keeps none.

    Returns
    -------
    ndarray of int64, shape (classes,)

    Raises
    ------
    UsageError
        If a class has too few examples.
    """
    classes, place = _class_places(order, labels)
    sizes = np.bincount(classes)
    present = np.flatnonzero(sizes)
    each, remainder = divmod(keep, len(present))
    counts = np.where(sizes > 0, each, 0)
    following = classes[place == each]  # the classes, ordered by their next example
    smallest = int(present[np.argmin(sizes[present])])
    if sizes[smallest] < each or len(following) < remainder:
        name = class_names[smallest] if class_names else f"class {smallest}"
        raise UsageError(
            f"{keep:,} examples cannot be kept with equally many of each class",
            expected=f"{each + (remainder > 0):,} of each of {len(present):,} classes",
            got=f"{sizes[smallest]:,} of {name}",
            hint=f"keep at most {sizes[smallest] * len(present):,}, or use --floor",
        )
    counts[following[:remainder]] += 1
    return counts


def class_floors(order: I64, labels: Labels, floor: str, class_names: Sequence[str] = ()) -> I64:
    """Return the smallest number of examples to keep of each class, shape (classes,).

    Raises
    ------
    UsageError
        If the floor is not an amount, or is more than a class has.
    """
    sizes = np.bincount(labels[order])
    floors = np.zeros(len(sizes), dtype=np.int64)
    for label in np.flatnonzero(sizes).tolist():
        name = class_names[label] if class_names else f"class {label}"
        floors[label] = parse_amount(floor, int(sizes[label]), f"{name}: --floor")
    return floors


def floored_counts(order: I64, labels: Labels, keep: int, floors: I64) -> I64:
    """Return how many examples to keep of each class: by order, but at least its floor.

    Raises
    ------
    UsageError
        If the floors add up to more than `keep`.
    """
    if (least := int(floors.sum())) > keep:
        raise UsageError(
            "the floors of the classes add up to more than is kept",
            expected=f"--keep of at least {least:,}",
            got=f"{keep:,}",
        )
    classes, place = _class_places(order, labels)
    reserved = place < floors[classes]
    others = classes[~reserved][: keep - least]
    return floors + np.bincount(others, minlength=len(floors))


def ascending(rows: I64, examples: int) -> I64:
    """Return distinct rows in ascending order. Marking them is faster than sorting."""
    marked = np.zeros(examples, dtype=np.bool_)
    marked[rows] = True
    return np.flatnonzero(marked).astype(np.int64, copy=False)


def _class_places(order: I64, labels: Labels) -> tuple[I64, I64]:
    """Return the class of each row in an order, and its place among the rows of its class."""
    classes = labels[order].astype(np.int64)
    sizes = np.bincount(classes)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(order), dtype=np.int64)
    # Numpy sorts 16-bit integers by radix, several times as fast as wider ones.
    narrow = classes.astype(np.uint16) if len(sizes) <= 1 << 16 else classes
    by_class = np.argsort(narrow, kind="stable")
    place[by_class] = np.arange(len(order)) - np.repeat(starts, sizes)
    return classes, place
