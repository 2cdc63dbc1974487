"""Keep the most friendly examples: drop the most problematic (Dong et al. 2021, section 4)."""

from __future__ import annotations

from datacurate.ranks.ranking import I64, Ranking


def order_friendly(ranking: Ranking, seed: int) -> I64:
    """Return the profiled rows, the most friendly first, shape (M,). The seed is not used."""
    return ranking.order
