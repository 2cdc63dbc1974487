"""The table of samplers: each orders the examples, and the first ones of the order are kept.

A new sampler is one file and one row here. The table loads no numpy, so that the command line can
name the samplers in its help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from datacurate.errors import UnknownNameError

if TYPE_CHECKING:
    from datacurate.ranks.ranking import I64, Ranking

    Order = Callable[[Ranking, int], I64]

DEFAULT = "friendly"


@dataclass(frozen=True)
class Sampler:
    """A row of the table.

    Attributes
    ----------
    name : str
    help : str
        What it keeps, in a few words.
    load : callable
        Imports and returns the function that orders the profiled rows of a ranking with a seed.
    uses_seed : bool
        Whether the order depends on the seed.
    uses_ranks : bool
        Whether the order depends on the ranks, so that ties matter.
    """

    name: str
    help: str
    load: Callable[[], Order]
    uses_seed: bool = False
    uses_ranks: bool = True


def _friendly() -> Order:
    from datacurate.selection.friendly import order_friendly

    return order_friendly


def _problematic() -> Order:
    from datacurate.selection.problematic import order_problematic

    return order_problematic


def _random() -> Order:
    from datacurate.selection.random import order_random

    return order_random


SAMPLERS: Mapping[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("friendly", "drops the most problematic examples", _friendly),
        Sampler("problematic", "drops the most friendly ones", _problematic),
        Sampler("random", "drops any", _random, uses_seed=True, uses_ranks=False),
    )
}


def sampler_named(name: str) -> Sampler:
    """Return the sampler of a name.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    """
    if name not in SAMPLERS:
        raise UnknownNameError("strategy", name, SAMPLERS)
    return SAMPLERS[name]


def describe_samplers() -> str:
    """Return one sentence that lists all samplers, for help texts."""
    return "; ".join(f"{sampler.name} {sampler.help}" for sampler in SAMPLERS.values()) + "."
