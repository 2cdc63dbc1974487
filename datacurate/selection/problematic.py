"""Keep the most problematic examples: the other half of Dong et al. 2021, figure 1."""

from __future__ import annotations

from datacurate.ranks.ranking import I64, Ranking


def order_problematic(ranking: Ranking, seed: int) -> I64:
    """Return the profiled rows, the most problematic first, shape (M,). The seed is not used."""
    return ranking.order[::-1]
