"""Rank files: `NAME.ranks.h5`, the published format described in ``docs/format.md``."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError, FileError, UnknownNameError
from datacurate.fingerprints import label_fingerprint
from datacurate.formats import attributes as texts
from datacurate.formats import hdf5
from datacurate.formats.aggregating import rank_of_run
from datacurate.formats.columns import IDENTITY_COLUMNS, KNOWN_COLUMNS, shape_fault
from datacurate.formats.provenance import Provenance
from datacurate.identity import Identity, without_labels
from datacurate.outputs import atomic_path, refuse_existing
from datacurate.ranks import ranking
from datacurate.ranks.ranking import Ranking

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".ranks.h5"
Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RankFile:
    """Ranks of the examples of a data set, their scores and their provenance.

    Attributes
    ----------
    identity : Identity
        Identity of the data set, N examples.
    columns : mapping of str to ndarray
        Every other column, first dimension N; see `datacurate.formats.columns`. Always
        ``problematic_rank`` and ``position``, of shape (N,); per run (N, R); ``correct`` is
        (N, R, B).
    provenance : Provenance
    content_sha256 : str
        Hash of the file that this was read from or written to; empty before.
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
        """Return the total order as the file states it.

        Raises
        ------
        DataError
            If the positions are not a permutation or contradict the ranks, or if a rank is NaN.
        """
        columns = self.columns
        stated = Ranking(columns["problematic_rank"], columns["position"], self.probability)
        ranking.check_ranking(stated)
        return stated

    def run_ranking(self, run: int) -> Ranking:
        """Return the total order of one run, by the columns that the recipe ranks by.

        Raises
        ------
        DataError
            If one of them is not in the file.
        """
        profiled = self.profiled
        score = np.full(len(self), np.nan)
        score[profiled] = rank_of_run(self.columns, profiled, self.provenance, run)
        return ranking.rank(
            score,
            self.identity.label_fingerprint,
            probability=self.columns["probability"][:, run],
            profiled=profiled,
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row for each example. Columns per run are ``NAME.0``, ``NAME.1``.

        It omits the packed correctness, which `datacurate.ranks.scores.unpack` reads.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise DataError(
                "pandas is not installed", hint="pip install 'datacurate[pandas]'"
            ) from error
        flat: dict[str, npt.NDArray[Any]] = {}
        for name, values in file_columns(self).items():
            if values.ndim == 1:
                flat[name] = values
            elif values.ndim == 2:
                flat |= {f"{name}.{run}": values[:, run] for run in range(values.shape[1])}
        return pd.DataFrame(flat)


def write(path: Path, rank_file: RankFile, force: bool = False, *, packed: bool = False) -> str:
    """Write a rank file and return its content sha256.

    Parameters
    ----------
    path : Path
        ``NAME.ranks.h5`` by convention.
    rank_file : RankFile
    force : bool
        Whether to replace an existing file.
    packed : bool
        Whether a small file matters more than a fast write. The content hash is the same.

    Raises
    ------
    OutputError
        If it exists and `force` is false, or cannot be written. An existing file stays.
    DataError
        If the dtype, shape or name of a column differs from the format.
    """
    refuse_existing(path, force)
    columns = file_columns(rank_file)
    declared = {name: (values.dtype, values.shape) for name, values in columns.items()}
    if fault := shape_fault(declared, len(rank_file), rank_file.provenance.epochs):
        raise DataError(fault.what, expected=fault.expected, got=fault.got)
    attributes = texts.from_parts(rank_file.identity, rank_file.provenance, columns)
    with atomic_path(path) as temporary:
        hdf5.write(temporary, attributes, columns, packed=packed)
    return attributes["content_sha256"]


def read(path: Path, columns: Collection[str] | None = None) -> RankFile:
    """Read a rank file and check its hashes. Nothing in it is executed or followed.

    Parameters
    ----------
    path : Path
    columns : collection of str, optional
        Read and check only these columns, the identity and the two columns that every file has.
        Columns that the file lacks are left out. By default all columns.

    Raises
    ------
    FileError
        If the file is missing, damaged or foreign, or holds something that a rank file must not.
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
        identity=_identity(path, metadata, values),
        columns={name: array for name, array in values.items() if name not in IDENTITY_COLUMNS},
        provenance=metadata.provenance,
        content_sha256=metadata.content_sha256,
    )


def require_column(path: Path, name: str) -> None:
    """Raise unless a rank file has a column of a name.

    Raises
    ------
    UnknownNameError
        With the columns that exist.
    FileError, NewerFormatError
        As for `read`.
    """
    with opened(path) as (file, _):
        if name not in file.columns:
            raise UnknownNameError("column", name, file.columns)


def history_path(path: Path) -> Path:
    """Return the path of the history of a rank file's trainings."""
    return path.with_name(path.name.removesuffix(SUFFIX) + ".history.jsonl")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[hdf5.Opened, texts.Metadata]]:
    """Open a rank file and check everything but the values of its columns.

    Raises
    ------
    FileError, NewerFormatError
        As for `read`.
    """
    with hdf5.opened(path) as file:
        metadata = texts.parse_attributes(path, file.attributes)
        _check_declared(path, file, metadata)
        yield file, metadata


def verified_column(file: hdf5.Opened, metadata: texts.Metadata, name: str) -> npt.NDArray[Any]:
    """Return the values of a column after checking their hash.

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
    columns: dict[str, npt.NDArray[Any]] = {}
    if identity.labelled:
        columns["label"] = identity.labels.astype(np.int32)
    if identity.content_hash is not None:
        columns["content_hash"] = identity.content_hash
    if identity.perceptual_hash is not None:
        columns["perceptual_hash"] = identity.perceptual_hash
    return {**columns, **rank_file.columns}


def _check_declared(path: Path, file: hdf5.Opened, metadata: texts.Metadata) -> None:
    """Raise unless the file has exactly the columns that its attributes and the format state."""
    if set(file.columns) != set(metadata.column_hashes):
        raise FileError(
            f"{path} does not have the columns it states",
            expected=", ".join(sorted(metadata.column_hashes)),
            got=", ".join(sorted(file.columns)),
            hint="get the file again from its source",
        )
    provenance = metadata.provenance
    if fault := shape_fault(file.columns, metadata.dataset["examples"], provenance.epochs):
        raise FileError(f"{path}: {fault.what}", expected=fault.expected, got=fault.got)


def _identity(path: Path, metadata: texts.Metadata, columns: Columns) -> Identity:
    dataset = metadata.dataset
    fingerprint = dataset["label_fingerprint"]
    if "label" not in columns:
        return without_labels(
            dataset["name"],
            dataset["split"],
            dataset["examples"],
            metadata.class_names,
            fingerprint,
        )
    labels = columns["label"].astype(np.int64)
    if labels.min() < 0 or labels.max() >= dataset["classes"]:
        raise FileError(
            f"{path} has labels of classes that it does not name",
            expected=f"0 to {dataset['classes'] - 1}",
            got=f"{labels.min()} to {labels.max()}",
        )
    if (got := label_fingerprint(labels)) != fingerprint:
        raise FileError(
            f"the labels of {path} do not match their fingerprint", expected=fingerprint, got=got
        )
    return Identity(
        name=dataset["name"],
        split=dataset["split"],
        class_names=metadata.class_names,
        shape=tuple(dataset["shape"]),
        labels=labels,
        label_fingerprint=fingerprint,
        pixel_fingerprint=dataset["pixel_fingerprint"],
        content_hash=columns.get("content_hash"),
        perceptual_hash=columns.get("perceptual_hash"),
    )
