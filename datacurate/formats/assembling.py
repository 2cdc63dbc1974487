"""Assemble a rank file from the records of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError, UnknownNameError
from datacurate.formats.aggregating import aggregate_runs
from datacurate.formats.columns import RECORD_COLUMNS, RUN_COLUMNS
from datacurate.formats.provenance import Provenance
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.ranks import ranking, scores


def from_runs(
    identity: Identity,
    records: Sequence[scores.RunRecord],
    provenance: Provenance,
    profiled_rows: npt.NDArray[np.int64] | None = None,
) -> RankFile:
    """Return the rank file of one or more finished runs.

    Parameters
    ----------
    identity : Identity
        Identity of all N examples.
    records : sequence of RunRecord
        One for each finished run, in the order of ``provenance.runs``. Each holds the M profiled
        examples in the order of `profiled_rows`.
    provenance : Provenance
        `rank_by` and `aggregation` say how the runs are combined into one rank.
    profiled_rows : ndarray of int64, shape (M,), optional
        Which rows were profiled; all of them by default.

    Raises
    ------
    DataError
        If records, rows and provenance do not fit together, or a score is NaN.
    UsageError
        If there is no record.
    """
    rows = np.arange(len(identity)) if profiled_rows is None else profiled_rows
    if provenance.epochs != tuple(record.epochs for record in records):
        raise DataError(
            "the runs' provenance does not belong to their records",
            expected=f"epochs {[record.epochs for record in records]}",
            got=f"epochs {list(provenance.epochs)}",
        )
    columns = _run_columns(records, rows, len(identity))
    score = np.full(len(identity), np.nan)
    score[rows] = aggregate_runs(columns, rows, provenance)
    profiled = np.zeros(len(identity), dtype=np.bool_)
    profiled[rows] = True
    order = ranking.rank(
        score,
        identity.label_fingerprint,
        probability=ranking.mean_over_runs(columns["probability"]),
        profiled=profiled,
    )
    aggregate = {"problematic_rank": order.score, "position": order.position}
    if "error_norm" in columns:
        aggregate["el2n"] = ranking.mean_over_runs(columns["error_norm"])
    return RankFile(identity, {**aggregate, **columns}, provenance)


def _run_columns(
    records: Sequence[scores.RunRecord], rows: npt.NDArray[np.int64], examples: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns per run, N rows; rows not profiled hold the missing value."""
    measures = {name for record in records for name in record.measures}
    for name in sorted(measures):
        if name not in RUN_COLUMNS or name in RECORD_COLUMNS:
            raise UnknownNameError("measure", name, set(RUN_COLUMNS) - set(RECORD_COLUMNS))
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in (*RECORD_COLUMNS, *sorted(measures)):
        column = RUN_COLUMNS[name]
        shape: tuple[int, ...] = (examples, len(records))
        if name == "correct":
            shape += (max((record.correct.shape[1] for record in records), default=0),)
        values = np.full(shape, column.missing, dtype=column.dtype)
        for run, record in enumerate(records):
            found = _score(record, name)
            if len(found) != len(rows):
                raise DataError(
                    f"{name} of run {run} has the wrong length",
                    expected=f"{len(rows):,} profiled examples",
                    got=f"{len(found):,}",
                )
            if values.ndim == 3:
                values[rows, run, : found.shape[1]] = found
            else:
                values[rows, run] = found
        columns[name] = values
    return columns


def _score(record: scores.RunRecord, name: str) -> npt.NDArray[Any]:
    """Return one column of one run for the profiled examples."""
    match name:
        case "instability":
            return scores.instability(record.correct, record.epochs)
        case "first_learned":
            return scores.first_learned(record.correct, record.epochs)
        case "forgetting":
            return scores.forgetting_events(record.correct, record.epochs)
        case "probability":
            return record.probability
        case "margin":
            return record.margin
        case "correct":
            return record.correct
    if name not in record.measures:
        raise DataError(f"one run has {name}, another one does not")
    return record.measures[name]
