"""How often a tie rule, and not the score, decided which example is kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from datacurate.ranks.ranking import I64, Ranking, starts_group
from datacurate.selection.per_class import Labels


def count_decided_by_ties(
    ranking: Ranking, kept: I64, labels: Labels, exchangeable: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    """Return how many kept examples the probability, and the hash, put before a dropped equal.

    A kept example could be exchanged for a dropped one of its own class, or of any class if its
    class may keep fewer.

    Parameters
    ----------
    ranking : Ranking
    kept : ndarray of int64, shape (K,)
        Rows.
    labels : ndarray of int, shape (N,)
    exchangeable : ndarray of bool, shape (classes,)
        Whether each class may keep fewer examples.

    Returns
    -------
    by_probability, by_hash : int
    """
    order = ranking.order
    is_kept = np.zeros(len(ranking.position), dtype=np.bool_)
    is_kept[kept] = True
    is_kept = is_kept[order]
    classes = labels[order].astype(np.int64)
    score = ranking.score[order]
    by_score = _count_exchangeable(starts_group(score), is_kept, classes, exchangeable)
    if ranking.probability is None:
        return 0, by_score
    starts = starts_group(score, ranking.probability[order])
    by_hash = _count_exchangeable(starts, is_kept, classes, exchangeable)
    return by_score - by_hash, by_hash


def _count_exchangeable(
    starts: npt.NDArray[np.bool_],
    is_kept: npt.NDArray[np.bool_],
    classes: I64,
    exchangeable: npt.NDArray[np.bool_],
) -> int:
    """Return how many kept examples could be replaced by a dropped one with an equal score."""
    group = np.cumsum(starts)
    dropped = np.bincount(group[~is_kept], minlength=int(group[-1]) + 1) > 0
    candidates = is_kept & dropped[group]
    free = candidates & exchangeable[classes]
    bound = candidates & ~exchangeable[classes]
    # Few groups contain both kept and dropped examples, so this looks at few examples.
    key = group * len(exchangeable) + classes
    rivals = key[~is_kept & np.isin(group, group[bound])]
    return int(np.count_nonzero(free)) + int(np.count_nonzero(np.isin(key[bound], rivals)))
