"""Which examples to keep: by rank or by chance, of all classes together or of each.

Whatever the rule, the examples kept of a class are its first ones in an order of preference. So
a selection is that order and a number for each class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from datacurate.errors import UnknownNameError, UsageError
from datacurate.fingerprints import mix64, seed64
from datacurate.ranks.ranking import I64, Ranking, starts_group

Strategy = Literal["friendly", "problematic", "random"]
Labels = npt.NDArray[np.integer[Any]]

_COUNT = re.compile(r"[0-9]+")
_FRACTION = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) *%")


@dataclass(frozen=True)
class Selection:
    """What is kept.

    Attributes
    ----------
    kept : ndarray of int64, shape (K,)
        Rows, ascending.
    tied_by_probability, tied_by_hash : int
        How many of them were kept although an example with the same score was dropped that could
        have been kept in their place: decided by the mean adversarial true-class probability, or
        by the hash. Both 0 for a random selection.
    """

    kept: I64
    tied_by_probability: int
    tied_by_hash: int


def parse_amount(text: str, of: int, what: str = "--keep") -> int:
    """Return how many of so many examples a text means.

    Parameters
    ----------
    text : str
        A count (``"40000"``), a fraction with a decimal point (``"0.8"``) or a percentage
        (``"80%"``). ``"1"`` is one example, ``"1.0"`` all of them. Fractions are rounded to the
        nearest count, halves to the even one.
    of : int
        How many there are.
    what : str
        The option, for the message.

    Raises
    ------
    UsageError
        If the text is none of these, or means no example or more than there are.
    """
    stripped = text.strip().replace("_", "")
    if _COUNT.fullmatch(stripped):
        amount = int(stripped)
    elif _FRACTION.fullmatch(stripped):
        amount = round(float(stripped) * of)
    elif match := _PERCENT.fullmatch(stripped):
        amount = round(float(match[1]) * of / 100)
    else:
        raise UsageError(
            f"{what} {text} is no amount",
            expected="a count (40000), a fraction (0.8) or a percentage (80%)",
            got=repr(text),
        )
    if not 1 <= amount <= of:
        raise UsageError(
            f"{what} {text} is out of range",
            expected=f"1 to {of:,} examples",
            got=f"{amount:,}",
            hint=f"{what} {max(of * 4 // 5, 1)} keeps four fifths",
        )
    return amount


def select(
    ranking: Ranking,
    keep: int,
    labels: Labels,
    *,
    strategy: Strategy = "friendly",
    balanced: bool = False,
    floor: str | None = None,
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> Selection:
    """Return which examples to keep. Examples that were not profiled never are.

    Parameters
    ----------
    ranking : Ranking
        Of N examples.
    keep : int
        K, from 1 to the number of profiled examples.
    labels : ndarray of int, shape (N,)
    strategy : str
        ``"friendly"`` drops the most problematic, ``"problematic"`` the most friendly ones,
        ``"random"`` any.
    balanced : bool
        Keep equally many of each class that has profiled examples; see `balanced_counts`.
    floor : str, optional
        Keep at least so many of each class: an amount as for `parse_amount`, of the class's
        profiled examples.
    seed : int
        Of a random selection.
    class_names : sequence of str
        For messages.

    Raises
    ------
    UsageError
        If there are too few examples, of a class or altogether.
    """
    order = preference(ranking, strategy, seed)
    if not 1 <= keep <= len(order):
        raise UsageError(
            f"{keep:,} examples cannot be kept",
            expected=f"1 to {len(order):,}, the number of profiled examples",
            got=f"{keep:,}",
        )
    if balanced and floor is not None:
        raise UsageError("a balanced selection has no floor", hint="drop --balanced or --floor")
    if balanced:
        counts = balanced_counts(order, labels, keep, class_names)
        exchangeable = np.zeros(len(counts), dtype=np.bool_)
        kept = keep_per_class(order, labels, counts)
    elif floor is not None:
        floors = class_floors(order, labels, floor, class_names)
        counts = floored_counts(order, labels, keep, floors)
        exchangeable = counts > floors
        kept = keep_per_class(order, labels, counts)
    else:
        exchangeable = np.ones(int(labels.max()) + 1, dtype=np.bool_)
        kept = _ascending(order[:keep], len(labels))
    if strategy == "random":
        return Selection(kept, 0, 0)
    return Selection(kept, *_decided_by_ties(ranking, kept, labels, exchangeable))


def preference(ranking: Ranking, strategy: Strategy = "friendly", seed: int = 0) -> I64:
    """Return the profiled rows in the order in which they are kept, shape (M,).

    The random order sorts by a hash of seed and row: the same on every machine, and for every
    number kept the smaller selection lies within the larger.

    Raises
    ------
    UnknownNameError
        For a strategy that does not exist.
    """
    if strategy == "friendly":
        return ranking.order
    if strategy == "problematic":
        return ranking.order[::-1]
    if strategy == "random":
        rows = np.sort(ranking.order)
        hashes = mix64(rows.astype(np.uint64), seed64("random selection", seed))
        return rows[np.argsort(hashes, kind="stable")]
    raise UnknownNameError("strategy", strategy, get_args(Strategy))


def keep_per_class(order: I64, labels: Labels, counts: npt.NDArray[np.integer[Any]]) -> I64:
    """Return the first ``counts[c]`` rows of each class c in an order, ascending.

    Parameters
    ----------
    order : ndarray of int64, shape (M,)
        Rows by preference.
    labels : ndarray of int, shape (N,)
    counts : ndarray of int, shape (classes,)
    """
    classes, place = _places(order, labels)
    return _ascending(order[place < counts[classes]], len(labels))


def balanced_counts(order: I64, labels: Labels, keep: int, class_names: Sequence[str] = ()) -> I64:
    """Return how many of each class make up a selection with equally many of each.

    Where the classes do not divide `keep`, the remainder goes, one each, to the classes whose next
    example comes first in the order. Classes without a single example in the order get none.

    Returns
    -------
    ndarray of int64, shape (classes,)

    Raises
    ------
    UsageError
        If a class has too few.
    """
    classes, place = _places(order, labels)
    sizes = np.bincount(classes)
    present = np.flatnonzero(sizes)
    each, remainder = divmod(keep, len(present))
    counts = np.where(sizes > 0, each, 0)
    following = classes[place == each]  # the class of each next example, first come first
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
    """Return the least number to keep of each class, shape (classes,).

    Raises
    ------
    UsageError
        If the floor is no amount, or more than a class has.
    """
    sizes = np.bincount(labels[order])
    floors = np.zeros(len(sizes), dtype=np.int64)
    for label in np.flatnonzero(sizes).tolist():
        name = class_names[label] if class_names else f"class {label}"
        floors[label] = parse_amount(floor, int(sizes[label]), f"{name}: --floor")
    return floors


def floored_counts(order: I64, labels: Labels, keep: int, floors: I64) -> I64:
    """Return how many of each class are kept by order, but for a least number of each class.

    Raises
    ------
    UsageError
        If the floors add up to more than `keep`.
    """
    if (least := int(floors.sum())) > keep:
        raise UsageError(
            "the floors of the classes are above what is kept",
            expected=f"--keep of at least {least:,}",
            got=f"{keep:,}",
        )
    classes, place = _places(order, labels)
    reserved = place < floors[classes]
    others = classes[~reserved][: keep - least]
    return floors + np.bincount(others, minlength=len(floors))


def _ascending(rows: I64, examples: int) -> I64:
    """Return different rows in ascending order; marking them is faster than sorting."""
    marked = np.zeros(examples, dtype=np.bool_)
    marked[rows] = True
    return np.flatnonzero(marked).astype(np.int64, copy=False)


def _places(order: I64, labels: Labels) -> tuple[I64, I64]:
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


def _decided_by_ties(
    ranking: Ranking, kept: I64, labels: Labels, exchangeable: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    """Return how many kept examples the probability, and the hash, put before a dropped equal.

    An example could have been exchanged for a dropped one of its class, or of any class where the
    number kept of its own may shrink (`exchangeable`).
    """
    order = ranking.order
    is_kept = np.zeros(len(ranking.position), dtype=np.bool_)
    is_kept[kept] = True
    is_kept = is_kept[order]
    classes = labels[order].astype(np.int64)
    score = ranking.score[order]
    by_score = _exchangeable(starts_group(score), is_kept, classes, exchangeable)
    if ranking.probability is None:
        return 0, by_score
    starts = starts_group(score, ranking.probability[order])
    by_hash = _exchangeable(starts, is_kept, classes, exchangeable)
    return by_score - by_hash, by_hash


def _exchangeable(
    starts: npt.NDArray[np.bool_],
    is_kept: npt.NDArray[np.bool_],
    classes: I64,
    exchangeable: npt.NDArray[np.bool_],
) -> int:
    """Return how many kept examples have a dropped one in their group that could replace them."""
    group = np.cumsum(starts)
    dropped = np.bincount(group[~is_kept], minlength=int(group[-1]) + 1) > 0
    candidates = is_kept & dropped[group]
    free = candidates & exchangeable[classes]
    bound = candidates & ~exchangeable[classes]
    # Few groups lie across the cut, so this looks at few examples.
    key = group * len(exchangeable) + classes
    rivals = key[~is_kept & np.isin(group, group[bound])]
    return int(np.count_nonzero(free)) + int(np.count_nonzero(np.isin(key[bound], rivals)))
