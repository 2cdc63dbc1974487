"""Aggregate the columns of all runs into one rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError
from datacurate.formats.columns import RUN_COLUMNS
from datacurate.formats.provenance import Provenance
from datacurate.ranks import ranking


def aggregate_runs(
    columns: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[Any], provenance: Provenance
) -> ranking.F64:
    """Return the normalised problematic rank over all runs (Dong et al. 2021, Eq. 4 and A.2).

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (N, R)
    rows : ndarray of int64 or bool
        The M examples that were profiled.
    provenance : Provenance
        `rank_by` names the columns by which each run ranks; `aggregation` says how the ranks of
        the runs are combined.

    Returns
    -------
    ndarray of float64, shape (M,)
        In [0, 1); high is problematic.

    Raises
    ------
    DataError
        If a column is missing or holds NaN.
    """
    scores = [_problematic_high(columns, name, rows) for name in provenance.rank_by]
    return ranking.aggregate(
        np.concatenate(scores, axis=1),
        cast(ranking.Aggregation, provenance.aggregation),
        provenance.epochs,
    )


def rank_of_run(
    columns: Mapping[str, npt.NDArray[Any]],
    rows: npt.NDArray[Any],
    provenance: Provenance,
    run: int,
) -> ranking.F64:
    """Return the normalised problematic rank of a single run.

    Raises
    ------
    DataError
    """
    scores = [_problematic_high(columns, name, rows)[:, run] for name in provenance.rank_by]
    return ranking.aggregate(np.stack(scores, axis=1), "mean-rank")


def _problematic_high(
    columns: Mapping[str, npt.NDArray[Any]], name: str, rows: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    if name not in columns or name not in RUN_COLUMNS or columns[name].ndim != 2:
        raise DataError(f"the runs are ranked by {name}, which is not a column of scores here")
    values: npt.NDArray[Any] = columns[name][rows]
    return -values if RUN_COLUMNS[name].problematic == "low" else values
