"""Arrays and tables as other software writes them, one value or one line an example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, json

from datacurate.errors import FileError
from datacurate.formats.npy import load_plain

F64 = npt.NDArray[np.float64]

_BLOCK = 1 << 24  # bytes of JSON read at once; a line must fit into it


def read_array(path: Path) -> npt.NDArray[Any]:
    """Return the array in a ``.npy`` file.

    Raises
    ------
    FileError
        If the file is missing, no such array, or holds Python objects.
    """
    _require_file(path)
    try:
        return load_plain(path)
    except ValueError as error:
        raise refused(path, "a .npy of numbers", str(error)) from error


def read_csv(path: Path) -> dict[str, Any]:
    """Return the columns of a CSV file with a header, as Arrow arrays by name.

    Raises
    ------
    FileError
        If the file is missing or no such table.
    """
    _require_file(path)
    try:
        table = csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise refused(path, "a CSV file with a header", _first_line(error)) from error
    return _by_name(path, table)


def read_json_lines(path: Path) -> dict[str, Any]:
    """Return the columns of a file with a JSON object in each line, as Arrow arrays by name.

    Raises
    ------
    FileError
        If the file is missing or no such table.
    """
    _require_file(path)
    try:
        table = json.read_json(path, json.ReadOptions(block_size=_BLOCK))
    except (OSError, pa.ArrowException) as error:
        raise refused(path, "a JSON object in each line", _first_line(error)) from error
    return _by_name(path, table)


def numbers(path: Path, table: Mapping[str, Any], name: str) -> F64:
    """Return a column of numbers as float64, shape (N,).

    Raises
    ------
    FileError
        If there is no such column, or a line has no number in it.
    """
    column = _column(path, table, name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise refused(path, f"numbers in column {name}", str(column.type))
    if column.null_count:
        raise refused(path, f"a number in every line of {name}", f"{column.null_count:,} without")
    return np.asarray(pc.cast(column, pa.float64()).to_numpy())


def rows(path: Path, table: Mapping[str, Any], name: str, examples: int) -> npt.NDArray[np.int64]:
    """Return a column that says which example each line is of: 0 … N − 1, each once.

    Raises
    ------
    FileError
        If it does not.
    """
    column = _column(path, table, name)
    if pa.types.is_string(column.type):
        # Numbers in quotes, or as the text of a tensor: tensor(17).
        column = pc.replace_substring_regex(column, r"^tensor\((\d+)\)$", r"\1")
    try:
        found = np.asarray(pc.cast(column, pa.int64()).to_numpy())
    except (pa.ArrowException, ValueError) as error:
        raise refused(path, f"row numbers in {name}", _first_line(error)) from error
    if column.null_count or found.dtype != np.int64:
        raise refused(path, f"row numbers in {name}", f"{column.null_count:,} lines without")
    expected = f"the rows 0 to {examples - 1:,} in {name}, each once"
    if len(found) != examples:
        raise refused(path, expected, f"{len(found):,} lines")
    strange = (found < 0) | (found >= examples)
    if strange.any():
        raise refused(path, expected, f"row {found[first(strange)]}")
    times = np.bincount(found, minlength=examples)
    if (times != 1).any():
        row = first(times != 1)
        raise refused(path, expected, f"row {row} {times[row]} times")
    return found


def in_rows(values: F64, places: npt.NDArray[np.int64]) -> F64:
    """Return values given line by line in the order of the examples their lines are of."""
    ordered = np.empty_like(values)
    ordered[places] = values
    return ordered


def one_each(path: Path, array: npt.NDArray[Any], examples: int) -> F64:
    """Return an array as float64 of shape (N,), exactly the values it had.

    Raises
    ------
    FileError
        If it is of another shape or no array of numbers, or float64 cannot hold a value.
    """
    if array.shape != (examples,) or array.dtype.kind not in "iuf":
        raise refused(
            path, f"a number for each of {examples:,} examples", f"{array.dtype} {array.shape}"
        )
    values = array.astype(np.float64)
    if array.dtype.kind in "iu" and (np.abs(values) > 2**53).any():
        raise refused(path, "integers up to 2^53", f"{array[first(np.abs(values) > 2**53)]}")
    return values


def require_finite(path: Path, name: str, values: F64, least: float = -np.inf) -> None:
    """Raise unless every value is a finite number, and at least `least`.

    Raises
    ------
    FileError
    """
    wrong = ~np.isfinite(values) | (values < least)
    if wrong.any():
        row = first(wrong)
        bound = "" if least == -np.inf else f", {least:g} or more"
        raise refused(
            path,
            f"a finite number as {name} of every example{bound}",
            f"{values[row]} in row {row}",
        )


def first(wrong: npt.NDArray[np.bool_]) -> int:
    """Return the place of the first true value."""
    return int(np.flatnonzero(wrong)[0])


def refused(path: Path, expected: str, got: str) -> FileError:
    """Return the error of a file that is not what it was said to be."""
    return FileError(
        f"{path} does not hold the ranks or scores of every example", expected=expected, got=got
    )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise FileError(f"there is no file {path}")


def _by_name(path: Path, table: Any) -> dict[str, Any]:
    names = table.column_names
    if len(set(names)) != len(names):
        raise refused(path, "columns of different names", ", ".join(names[:8]))
    return {name: table[name].combine_chunks() for name in names}


def _column(path: Path, table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise refused(path, f"a column {name}", ", ".join(list(table)[:8]) or "nothing")
    return table[name]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
