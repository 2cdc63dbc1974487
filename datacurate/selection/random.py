"""Keep random examples: what every other choice is compared with."""

from __future__ import annotations

import numpy as np

from datacurate.fingerprints import mix64, seed64
from datacurate.ranks.ranking import I64, Ranking


def order_random(ranking: Ranking, seed: int) -> I64:
    """Return the profiled rows in a random order, shape (M,).

    The order sorts by a hash of seed and row. So it is the same on every machine, and a smaller
    selection is contained in a larger one.
    """
    rows = np.sort(ranking.order)
    hashes = mix64(rows.astype(np.uint64), seed64("random selection", seed))
    return rows[np.argsort(hashes, kind="stable")]
