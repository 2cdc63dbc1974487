"""Rank files: `NAME.ranks.h5`, the published format described in ``docs/format.md``."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError, FileError, UnknownNameError
from datacurate.files import attributes as texts
from datacurate.files import hdf5
from datacurate.files.columns import (
    IDENTITY_COLUMNS,
    KNOWN_COLUMNS,
    RECORD_COLUMNS,
    RUN_COLUMNS,
    Column,
)
from datacurate.files.provenance import Provenance
from datacurate.identity import Identity
from datacurate.outputs import atomic_path, refuse_existing
from datacurate.ranks import ranking, scores
from datacurate.ranks.ranking import Aggregation, Ranking

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".ranks.h5"
Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RankFile:
    """Ranks of a data set's examples, the scores they come from, and how they came about.

    Attributes
    ----------
    identity : Identity
        Of the data set; N examples.
    columns : mapping of str to ndarray
        Every other column, first dimension N; see `datacurate.files.columns`. Always
        ``problematic_rank`` and ``position``, of shape (N,); per run (N, R); ``correct`` is
        (N, R, B).
    provenance : Provenance
    content_sha256 : str
        Of the file this was read from or written to; empty before.
    """

    identity: Identity
    columns: Columns
    provenance: Provenance
    content_sha256: str = ""

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def runs(self) -> int:
        """The number of runs, R."""
        return len(self.provenance.runs)

    @property
    def profiled(self) -> npt.NDArray[np.bool_]:
        """Which examples have a rank, shape (N,)."""
        return np.not_equal(self.columns["position"], ranking.NOT_RANKED)

    @property
    def probability(self) -> npt.NDArray[np.float64] | None:
        """Mean over runs of the adversarial true-class probability, shape (N,), or None."""
        if "probability" not in self.columns:
            return None
        return ranking.mean_over_runs(self.columns["probability"])

    def ranking(self) -> Ranking:
        """Return the total order, recomputed from the aggregate rank by the format's tie rule."""
        return ranking.rank(
            self.columns["problematic_rank"],
            self.identity.label_fingerprint,
            probability=self.probability,
            profiled=self.profiled,
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with a row an example; columns per run are called ``NAME.0`` and so on.

        The packed correctness is left out: `datacurate.ranks.scores.unpack` reads it.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise DataError("pandas is not installed", hint="pip install pandas") from error
        flat: dict[str, npt.NDArray[Any]] = {}
        for name, values in file_columns(self).items():
            if values.ndim == 1:
                flat[name] = values
            elif values.ndim == 2:
                flat |= {f"{name}.{run}": values[:, run] for run in range(values.shape[1])}
        return pd.DataFrame(flat)


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
        Of all N examples.
    records : sequence of RunRecord
        Of the M profiled examples, in the order of `profiled_rows`; one for each finished run, in
        the order of ``provenance.runs``.
    provenance : Provenance
        Its `aggregation` says how the runs become one rank.
    profiled_rows : ndarray of int64, shape (M,), optional
        Which rows were profiled; all of them by default.

    Raises
    ------
    DataError
        If records, rows and provenance do not fit each other, or a score is NaN.
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
    score[rows] = ranking.aggregate(
        columns["instability"][rows],
        cast(Aggregation, provenance.aggregation),
        provenance.epochs,
    )
    profiled = np.zeros(len(identity), dtype=np.bool_)
    profiled[rows] = True
    order = ranking.rank(
        score,
        identity.label_fingerprint,
        probability=ranking.mean_over_runs(columns["probability"]),
        profiled=profiled,
    )
    aggregate = {"problematic_rank": order.score, "position": order.position}
    return RankFile(identity, {**aggregate, **columns}, provenance)


def write(path: Path, rank_file: RankFile, force: bool = False) -> str:
    """Write a rank file and return its content sha256.

    Parameters
    ----------
    path : Path
        By custom ``NAME.ranks.h5``.
    rank_file : RankFile
    force : bool
        Whether a file that exists is replaced.

    Raises
    ------
    OutputError
        If it exists and `force` is false, or cannot be written; what was there stays.
    DataError
        If a column has another type, shape or name than the format gives it.
    """
    refuse_existing(path, force)
    columns = file_columns(rank_file)
    _check_shapes(columns, len(rank_file), rank_file.provenance.epochs)
    attributes = texts.from_parts(rank_file.identity, rank_file.provenance, columns)
    with atomic_path(path) as temporary:
        hdf5.write(temporary, attributes, columns)
    return attributes["content_sha256"]


def read(path: Path, columns: Collection[str] | None = None) -> RankFile:
    """Read a rank file and check its hashes; runs nothing and touches no other file.

    Parameters
    ----------
    path : Path
    columns : collection of str, optional
        Read, and check, these columns alone beside the identity and the two that every file has;
        those the file lacks are left out. All of them by default.

    Raises
    ------
    FileError
        If the file is missing, damaged, foreign, or holds what a rank file must not hold.
    NewerFormatError
        If it was written by a later version.
    """
    with opened(path) as (file, metadata):
        always = {name for name, column in KNOWN_COLUMNS.items() if column.required}
        always |= set(IDENTITY_COLUMNS)
        wanted = file.columns if columns is None else always | set(columns)
        values = {
            name: verified_column(file, metadata, name) for name in file.columns if name in wanted
        }
    return RankFile(
        identity=_identity(metadata, values),
        columns={name: array for name, array in values.items() if name not in IDENTITY_COLUMNS},
        provenance=metadata.provenance,
        content_sha256=metadata.content_sha256,
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[hdf5.Opened, texts.Metadata]]:
    """Open a rank file and check everything but the values of its columns.

    Raises
    ------
    FileError, NewerFormatError
        As for `read`.
    """
    with hdf5.opened(path) as file:
        metadata = texts.parsed(path, file.attributes)
        _check_declared(path, file, metadata)
        yield file, metadata


def verified_column(file: hdf5.Opened, metadata: texts.Metadata, name: str) -> npt.NDArray[Any]:
    """Return a column's values if they match their hash.

    Raises
    ------
    FileError
    """
    values = file.column(name)
    expected = metadata.column_hashes[name]
    if (got := texts.column_sha256(name, values)) != expected:
        raise FileError(
            f"column {name} of {file.path} does not match its hash",
            expected=expected,
            got=got,
            hint="get the file again, or make it again with `datacurate profile`",
        )
    return values


def file_columns(rank_file: RankFile) -> dict[str, npt.NDArray[Any]]:
    """Return every column of a rank file as the file stores it, those of the identity first."""
    identity = rank_file.identity
    columns: dict[str, npt.NDArray[Any]] = {"label": identity.labels.astype(np.int32)}
    if identity.content_hash is not None:
        columns["content_hash"] = identity.content_hash
    if identity.perceptual_hash is not None:
        columns["perceptual_hash"] = identity.perceptual_hash
    return {**columns, **rank_file.columns}


def _run_columns(
    records: Sequence[scores.RunRecord], rows: npt.NDArray[np.int64], examples: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns per run, of N rows, with what is missing where nothing was profiled."""
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
        raise DataError(f"a run has no {name}, another one has")
    return record.measures[name]


def _expected_shape(column: Column, examples: int, epochs: Sequence[int]) -> tuple[int, ...]:
    sizes = {
        "N": examples,
        "R": len(epochs),
        "B": scores.packed_width(max(epochs, default=0)),
    }
    return tuple(sizes[axis] for axis in column.axes)


def _shape_fault(
    columns: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    examples: int,
    epochs: Sequence[int],
) -> tuple[str, str, str] | None:
    """Return what is wrong with declared columns, what was expected and what was got, or None."""
    for name, column in KNOWN_COLUMNS.items():
        if name not in columns:
            if column.required:
                return f"column {name} is missing", "every rank file has it", "none"
            continue
        dtype, shape = columns[name]
        expected = _expected_shape(column, examples, epochs)
        if dtype != column.numpy_dtype or shape != expected:
            return (
                f"column {name} has the wrong type or shape",
                f"{column.dtype} {expected}",
                f"{dtype} {shape}",
            )
    return None


def _check_shapes(columns: Columns, examples: int, epochs: Sequence[int]) -> None:
    declared = {name: (values.dtype, values.shape) for name, values in columns.items()}
    if fault := _shape_fault(declared, examples, epochs):
        raise DataError(fault[0], expected=fault[1], got=fault[2])


def _check_declared(path: Path, file: hdf5.Opened, metadata: texts.Metadata) -> None:
    """Raise unless the columns there are those the attributes and the format speak of."""
    if set(file.columns) != set(metadata.column_hashes):
        raise FileError(
            f"{path} does not have the columns it states",
            expected=", ".join(sorted(metadata.column_hashes)),
            got=", ".join(sorted(file.columns)),
            hint="get the file again from its source",
        )
    provenance = metadata.provenance
    fault = _shape_fault(file.columns, metadata.dataset["examples"], provenance.epochs)
    if fault:
        raise FileError(f"{path}: {fault[0]}", expected=fault[1], got=fault[2])


def _identity(metadata: texts.Metadata, columns: Columns) -> Identity:
    dataset = metadata.dataset
    return Identity(
        name=dataset["name"],
        split=dataset["split"],
        class_names=metadata.class_names,
        shape=tuple(dataset["shape"]),
        labels=columns["label"].astype(np.int64),
        label_fingerprint=dataset["label_fingerprint"],
        pixel_fingerprint=dataset["pixel_fingerprint"],
        content_hash=columns.get("content_hash"),
        perceptual_hash=columns.get("perceptual_hash"),
    )
