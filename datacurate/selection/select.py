"""Select the examples to keep, of all classes together or of each class.

A sampler orders the examples. The examples kept of a class are its first ones in that order. So a
selection is an order and a number for each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datacurate.errors import UsageError
from datacurate.ranks.ranking import I64, Ranking
from datacurate.selection.per_class import (
    Labels,
    ascending,
    balanced_counts,
    class_floors,
    floored_counts,
    keep_per_class,
)
from datacurate.selection.samplers import DEFAULT, sampler_named
from datacurate.selection.ties import count_decided_by_ties


@dataclass(frozen=True)
class Selection:
    """Which examples are kept.

    Attributes
    ----------
    kept : ndarray of int64, shape (K,)
        Rows, ascending.
    tied_by_probability, tied_by_hash : int
        Number of kept examples that a tie rule put before a dropped example with the same score:
        the mean adversarial true-class probability, or the hash. Both are 0 if the sampler does
        not use ranks.
    """

    kept: I64
    tied_by_probability: int
    tied_by_hash: int


def select(
    ranking: Ranking,
    keep: int,
    labels: Labels,
    *,
    strategy: str = DEFAULT,
    balanced: bool = False,
    floor: str | None = None,
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> Selection:
    """Return which examples to keep. Examples that were not profiled are never kept.

    Parameters
    ----------
    ranking : Ranking
        Ranking of N examples.
    keep : int
        K, from 1 to the number of profiled examples.
    labels : ndarray of int, shape (N,)
    strategy : str
        Name of a sampler; see `datacurate.selection.samplers.SAMPLERS`.
    balanced : bool
        Keep equally many of each class that has profiled examples; see
        `datacurate.selection.per_class.balanced_counts`.
    floor : str, optional
        Keep at least this amount of each class, as for
        `datacurate.selection.amounts.parse_amount`, of its profiled examples.
    seed : int
        For samplers that draw at random.
    class_names : sequence of str
        Names of the classes, for messages.

    Raises
    ------
    UsageError
        If there are too few examples, in a class or in total.
    UnknownNameError
        For a sampler that does not exist.
    """
    sampler = sampler_named(strategy)
    order = sampler.load()(ranking, seed)
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
        kept = ascending(order[:keep], len(labels))
    if not sampler.uses_ranks:
        return Selection(kept, 0, 0)
    return Selection(kept, *count_decided_by_ties(ranking, kept, labels, exchangeable))
