"""Order examples by any column of a rank file, from friendly to problematic."""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np

from datacurate.errors import DataError, UnknownNameError, UsageError
from datacurate.formats.columns import KNOWN_COLUMNS
from datacurate.formats.rankfile import RankFile
from datacurate.ranks import ranking
from datacurate.ranks.ranking import Ranking
from datacurate.ranks.scores import NEVER

Direction = Literal["high", "low"]

RANK = "problematic_rank"
"""The column that orders examples unless another one is named."""

_NOT_SCORES = ("position", "correct")


def rank_by(rank_file: RankFile, column: str, direction: Direction | None = None) -> Ranking:
    """Return the order of examples by a column, from friendly to problematic.

    A column of several runs is averaged over the runs. If a column has a value for "never learned",
    each run is ranked with the never learned examples tied as most problematic, and the ranks are
    averaged. Ties are broken as in `datacurate.ranks.ranking.rank`.

    Parameters
    ----------
    rank_file : RankFile
    column : str
        A column with one or two dimensions.
    direction : str, optional
        Which end is problematic, ``"high"`` or ``"low"``; by default as the column states.

    Raises
    ------
    UnknownNameError
        If there is no such column, if it has no scores, or for another direction.
    UsageError
        If neither the format nor the file says which end is problematic.
    DataError
        If a profiled example has no value.
    """
    end = direction or direction_of(rank_file, column)
    if end not in get_args(Direction):
        raise UnknownNameError("direction", end, get_args(Direction))
    profiled = rank_file.profiled
    known = rank_file.columns[_required(rank_file, column)][profiled]
    if column in KNOWN_COLUMNS and KNOWN_COLUMNS[column].never:
        known = (
            ranking.learning_order(known)
            if known.ndim == 2
            else np.where(known == NEVER, np.inf, known)
        )
    elif known.ndim == 2:
        known = ranking.mean_over_runs(known)
    score = np.full(len(rank_file), np.nan)
    score[profiled] = known if end == "high" else -known.astype(np.float64)
    return ranking.rank(
        score,
        rank_file.identity.label_fingerprint,
        probability=rank_file.probability,
        profiled=profiled,
    )


def direction_of(rank_file: RankFile, column: str) -> Direction:
    """Return which end of a column is problematic, as the format or the file's source states it.

    Raises
    ------
    UnknownNameError
        If there is no such column, or if it has no scores.
    UsageError
        If neither the format nor the source states it.
    """
    _required(rank_file, column)
    source = rank_file.provenance.source
    stated = KNOWN_COLUMNS[column].problematic if column in KNOWN_COLUMNS else "neither"
    if stated == "neither" and source.get("column") == column:
        stated = source.get("problematic", "neither")
    if stated not in get_args(Direction):
        raise UsageError(
            f"it is not known which end of {column} is problematic",
            expected="--direction high, or --direction low",
        )
    return cast(Direction, stated)


def rank_of_column(rank_file: RankFile, column: str, direction: Direction) -> ranking.F64:
    """Return the normalised rank by a column: Eq. 4 of Dong et al. 2021 for any score.

    Returns
    -------
    ndarray of float64, shape (N,)
        Share of the profiled examples that are strictly less problematic; NaN if not profiled.
    """
    profiled = rank_file.profiled
    score = rank_by(rank_file, column, direction).score[profiled]
    share = np.full(len(rank_file), np.nan)
    share[profiled] = np.divide(ranking.problematic_rank(score), max(len(score), 1))
    return share


def _required(rank_file: RankFile, column: str) -> str:
    """Return a column's name if the file has it and it can order examples, or raise."""
    columns = rank_file.columns
    usable = [n for n, values in columns.items() if values.ndim < 3 and n not in _NOT_SCORES]
    if column not in usable:
        raise UnknownNameError("column of scores", column, usable)
    if columns[column].ndim == 2 and columns[column].shape[1] == 0:
        raise DataError(f"column {column} has no run")
    return column
