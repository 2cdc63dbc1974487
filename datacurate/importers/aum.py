"""Areas under the margin (Pleiss et al., 2020), as the package ``aum`` writes them.

https://arxiv.org/abs/2001.10528
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers import tables
from datacurate.importers.imported import ranked_by
from datacurate.importers.options import ImportOptions


def read_aum(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions = ImportOptions(),
) -> RankFile:
    """Read ``aum_values.csv``; a small margin is problematic.

    Parameters
    ----------
    path : Path
        CSV with the columns ``sample_id`` and ``aum``, in any order of lines; a sample's id is the
        row of the example, from 0.
    identity : Identity
        Identity of the N examples.
    source : mapping
        Where the file came from, for the provenance.
    options : ImportOptions
        Not used: the format states everything.

    Raises
    ------
    FileError
        If the file is missing, is not such a table, or is not of exactly these examples.
    """
    table = tables.read_csv(path)
    places = tables.rows(path, table, "sample_id", len(identity))
    margins = tables.in_rows(tables.numbers(path, table, "aum"), places)
    tables.require_finite(path, "AUM", margins)
    return ranked_by("aum", "low", {"aum": margins}, path, identity, source)
