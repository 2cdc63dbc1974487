"""Index files: the kept rows as a plain array, and beside it a statement of their origin.

``idx.npy`` is an int64 array for `torch.utils.data.Subset`. ``idx.npy.json`` says what it means
and for which data. Without the statement, datacurate does not apply the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from datacurate.errors import FileError, NewerFormatError, OutputExistsError
from datacurate.fingerprints import canonical_json, sha256_bytes
from datacurate.formats import digest as digests
from datacurate.formats.digest import Digest
from datacurate.formats.npy import load_plain
from datacurate.formats.provenance import now
from datacurate.formats.strict_json import parsed_json
from datacurate.identity import Identity, Match, describe, require_usable
from datacurate.outputs import atomic_path, refuse_existing

FORMAT = "datacurate.index"
FORMAT_VERSION = "1.0"
Form = Literal["index", "mask", "csv"]

_MOST_SIDECAR_BYTES = 1 << 26


@dataclass(frozen=True)
class IndexFile:
    """The kept rows and their origin.

    Attributes
    ----------
    kept : ndarray of int64, shape (K,)
        Ascending, each once, from 0 to N − 1.
    dataset : Digest
        Digest of the N examples that they were chosen from.
    selection : mapping
        How they were chosen: ``strategy``, ``balanced``, ``floor``, ``seed``, ``tie_rule``, and
        how many kept rows it decided, ``tied_by_probability`` and ``tied_by_hash``.
    source : mapping
        The ranks: ``file``, ``content_sha256``, ``kind``, ``recipe``, ``recipe_hash``, ``runs``.
    classes : tuple of mapping
        For each class ``name``, ``before`` and ``after``.
    data_check : str
        The result of the comparison with data, or that nothing was compared.
    warnings : tuple of str
        Warnings that the user saw.
    created : str
        Time of writing, UTC, ISO 8601; empty before.
    """

    kept: npt.NDArray[np.int64]
    dataset: Digest
    selection: Mapping[str, Any]
    source: Mapping[str, Any]
    classes: tuple[Mapping[str, Any], ...]
    data_check: str
    warnings: tuple[str, ...] = ()
    created: str = field(default="", compare=False)


def sidecar_path(path: Path) -> Path:
    """Return the path of the statement of an index file: ``idx.npy`` → ``idx.npy.json``."""
    return path.with_name(path.name + ".json")


def refuse_existing_pair(path: Path, force: bool = False) -> None:
    """Raise unless an index file and its sidecar may be written.

    Raises
    ------
    OutputError
        As for `datacurate.outputs.refuse_existing`, for either.
    """
    refuse_existing(path, force)
    if sidecar_path(path).is_dir() or (sidecar_path(path).exists() and not force):
        raise OutputExistsError(
            f"{sidecar_path(path)} exists already",
            hint="choose another --out, or pass --force to replace it",
        )


def write(path: Path, index: IndexFile, form: Form = "index", force: bool = False) -> None:
    """Write an index file and its sidecar.

    Both are complete before either is moved into place. The sidecar is moved first, so that the
    file that programs load appears last.

    Parameters
    ----------
    path : Path
    index : IndexFile
    form : str
        ``"index"`` for the rows as int64, ``"mask"`` for a bool for each of the N examples,
        ``"csv"`` for the mask as text with a header.
    force : bool
        Whether to replace existing files.

    Raises
    ------
    OutputError
        If they exist and `force` is false, or cannot be written. Existing files stay.
    """
    refuse_existing_pair(path, force)
    with atomic_path(path) as temporary, atomic_path(sidecar_path(path)) as beside:
        _write_array(temporary, index, form)
        text = json.dumps(_statement(index, form), indent=1, sort_keys=True, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> IndexFile:
    """Read an index file, or a mask, and the sidecar that says what it was made for.

    Parameters
    ----------
    path : Path
        The ``.npy`` file.

    Raises
    ------
    FileError
        If a file is missing or damaged, if the two do not belong together, or if the array is not
        an ascending list of rows.
    NewerFormatError
        If the sidecar was written by a later version.
    """
    array = _read_array(path)
    statement = _read_statement(path)
    try:
        form = statement["form"]
        if statement["array_sha256"] != _array_sha256(array):
            raise FileError(
                f"{path} and {sidecar_path(path).name} do not belong together",
                hint="make both again with `datacurate prune`",
            )
        index = IndexFile(
            kept=np.flatnonzero(array).astype(np.int64) if form == "mask" else array,
            dataset=digests.from_json(statement["dataset"]),
            selection=dict(statement["selection"]),
            source=dict(statement["source"]),
            classes=tuple(_class_counts(row) for row in statement["classes"]),
            data_check=str(statement["data_check"]),
            warnings=tuple(str(line) for line in statement["warnings"]),
            created=str(statement["created"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _damaged(sidecar_path(path), f"{type(error).__name__} {error}") from error
    if array.dtype == np.bool_ and len(array) != index.dataset.examples:
        raise FileError(
            f"the mask {path} does not fit its data set",
            expected=f"{index.dataset.examples:,} examples",
            got=f"{len(array):,}",
        )
    _check_rows(path, index.kept, index.dataset.examples)
    return index


def check_against(index: IndexFile, data: Identity) -> Match:
    """Return how the data of an index relates to the given data."""
    return digests.relate_digest(index.dataset, data)


def require_match(index: IndexFile, data: Identity, what: str) -> Match:
    """Return the match of an index with data, or refuse to apply it.

    Parameters
    ----------
    index : IndexFile
    data : Identity
    what : str
        Subject of the error message, such as ``"the rows in idx.npy"``.

    Raises
    ------
    DataMismatchError
        If its rows are not rows of this data.
    """
    expected = digests.describe_digest(index.dataset)
    return require_usable(check_against(index, data), what, expected, describe(data))


def _class_counts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry of ``classes``, with its types checked."""
    before, after = int(row["before"]), int(row["after"])
    return {"name": str(row["name"]), "before": before, "after": after}


def statement_sha256(statement: Mapping[str, Any]) -> str:
    """Return the hash of everything that a sidecar states, except this hash."""
    rest = {key: value for key, value in statement.items() if key != "statement_sha256"}
    return sha256_bytes(canonical_json(rest).encode())


def _statement(index: IndexFile, form: Form) -> dict[str, Any]:
    said = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "form": form,
        "means": "kept",
        "kept": len(index.kept),
        "array_sha256": _array_sha256(_array(index, form)),
        "dataset": digests.as_json(index.dataset),
        "selection": dict(index.selection),
        "source": dict(index.source),
        "classes": [dict(row) for row in index.classes],
        "data_check": index.data_check,
        "warnings": list(index.warnings),
        "created": index.created or now(),
    }
    return {**said, "statement_sha256": statement_sha256(said)}


def _array(index: IndexFile, form: Form) -> npt.NDArray[Any]:
    if form == "index":
        return index.kept.astype("<i8")
    mask = np.zeros(index.dataset.examples, dtype=np.bool_)
    mask[index.kept] = True
    return mask


def _array_sha256(array: npt.NDArray[Any]) -> str:
    return sha256_bytes(array.tobytes())


def _write_array(path: Path, index: IndexFile, form: Form) -> None:
    array = _array(index, form)
    if form == "csv":
        import pyarrow as pa
        from pyarrow import csv

        rows = np.arange(len(array))
        csv.write_csv(pa.table({"row": rows, "kept": array.astype(np.int8)}), path)
        return
    with path.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


def _read_array(path: Path) -> npt.NDArray[Any]:
    if not path.is_file():
        raise FileError(
            f"there is no file {path}", hint="datacurate prune --keep 0.8 --out idx.npy"
        )
    try:
        array = load_plain(path)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if array.ndim != 1 or array.dtype.str not in ("<i8", "|b1"):
        raise FileError(
            f"{path} is not a list of rows",
            expected="int64 (K,), or a mask of bool (N,)",
            got=f"{array.dtype} {array.shape}",
        )
    return array


def _read_statement(path: Path) -> dict[str, Any]:
    beside = sidecar_path(path)
    if not beside.is_file():
        raise FileError(
            f"{path} has no {beside.name} beside it, so its data is unknown",
            hint="copy both files, or make them again with `datacurate prune`",
        )
    try:
        if beside.stat().st_size > _MOST_SIDECAR_BYTES:
            raise _damaged(beside, "it is far too large")
        statement = parsed_json(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(beside, str(error)) from error
    if not isinstance(statement, dict) or statement.get("format") != FORMAT:
        raise _damaged(beside, f"it does not state format {FORMAT}")
    version = str(statement.get("format_version"))
    major = version.partition(".")[0]
    if not major.isdecimal():
        raise _damaged(beside, f"format version {version!r}")
    if int(major) > int(FORMAT_VERSION.partition(".")[0]):
        raise NewerFormatError(
            f"{beside} was written by a later version of datacurate",
            expected=f"format version 1.x, up to {FORMAT_VERSION} in full",
            got=f"format version {version}",
            hint="pip install -U datacurate",
        )
    try:
        computed = statement_sha256(statement)
    except RecursionError as error:  # JSON that can be read may be too deep to write
        raise _damaged(beside, "it is nested too deep") from error
    if (stated := statement.get("statement_sha256")) != computed:
        raise FileError(
            f"{beside} was changed after it was written",
            expected=f"statement_sha256 {computed}",
            got=str(stated),
            hint="make both again with `datacurate prune`",
        )
    return statement


def _check_rows(path: Path, kept: npt.NDArray[np.int64], examples: int) -> None:
    """Raise unless rows are ascending, each once, and within the data set."""
    if len(kept) == 0:
        raise FileError(f"{path} keeps nothing")
    if np.any(np.diff(kept) <= 0):
        raise FileError(f"the rows in {path} are not ascending, each once")
    if kept[0] < 0 or kept[-1] >= examples:
        raise FileError(
            f"{path} has rows that the data set does not have",
            expected=f"0 to {examples - 1:,}",
            got=f"{kept[0]:,} to {kept[-1]:,}",
        )


def _damaged(path: Path, why: str) -> FileError:
    return FileError(
        f"{path} is damaged or not a file of datacurate: {why}",
        hint="make it again with `datacurate prune`",
    )
