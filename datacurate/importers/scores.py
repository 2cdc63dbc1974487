"""Scores of any kind, one number an example; the user states which end is problematic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datacurate.errors import UsageError
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers import tables
from datacurate.importers.imported import ranked_by
from datacurate.importers.options import ImportOptions
from datacurate.importers.tables import F64, refused

_ROWS = ("row", "index", "idx", "id", "sample_id")


def read_scores(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions,
) -> RankFile:
    """Read a score for each example.

    Parameters
    ----------
    path : Path
        A ``.npy`` of numbers of shape (N,); or CSV with a header, one column of scores and, where
        the lines are not in the order of the examples, one called ``row``, ``index``, ``idx``,
        ``id`` or ``sample_id`` that says which example a line is of, from 0. If there are several
        other columns, the one called ``score`` is taken.
    identity : Identity
        Identity of the N examples.
    source : mapping
        Where the file came from, for the provenance.
    options : ImportOptions
        `direction` says which end is problematic.

    Raises
    ------
    FileError
        If the file is missing, is neither, or is not of exactly these examples.
    """
    if options.direction is None:
        raise UsageError(
            "nothing says which end of the scores is problematic",
            hint="--direction high, or --direction low",
        )
    if path.suffix == ".csv":
        values = _from_csv(path, len(identity))
    else:
        values = tables.one_each(path, tables.read_array(path), len(identity))
    tables.require_finite(path, "score", values)
    return ranked_by("score", options.direction, {"score": values}, path, identity, source)


def _from_csv(path: Path, examples: int) -> F64:
    table = tables.read_csv(path)
    places = [name for name in _ROWS if name in table]
    others = [name for name in table if name not in places]
    name = "score" if "score" in others else others[0] if len(others) == 1 else None
    if name is None or len(places) > 1:
        raise refused(path, "one column of scores, or one called score", ", ".join(table))
    values = tables.numbers(path, table, name)
    if places:
        return tables.in_rows(values, tables.rows(path, table, places[0], examples))
    return tables.one_each(path, values, examples)
