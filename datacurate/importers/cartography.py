"""Training dynamics (dataset cartography; Swayamdipta et al., 2020).

https://arxiv.org/abs/2009.10795
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers import tables
from datacurate.importers.imported import ranked_by
from datacurate.importers.options import ImportOptions
from datacurate.ranks.scores import NEVER

_MEASURES = ("confidence", "variability", "correctness")
_NEVER_LEARNED = 1000  # what the published code writes as forgetfulness of such examples


def read_cartography(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions = ImportOptions(),
) -> RankFile:
    """Read the metrics of training dynamics; a low confidence (hard to learn) is problematic.

    Parameters
    ----------
    path : Path
        A JSON object in each line with ``guid``, the row of the example from 0, and
        ``confidence``; ``variability``, ``correctness`` and ``forgetfulness`` are taken over where
        they are there. A forgetfulness of 1000 means never learned.
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
    table = tables.read_json_lines(path)
    places = tables.rows(path, table, "guid", len(identity))
    columns = {
        name: tables.in_rows(tables.numbers(path, table, name), places)
        for name in _MEASURES
        if name in table or name == "confidence"
    }
    if "forgetfulness" in table:
        events = tables.in_rows(tables.numbers(path, table, "forgetfulness"), places)
        tables.require_finite(path, "forgetfulness", events, least=0)
        columns["clean_forgetting"] = np.where(events == _NEVER_LEARNED, float(NEVER), events)
    for name in _MEASURES:
        if name in columns:
            tables.require_finite(path, name, columns[name], least=0)
    return ranked_by("confidence", "low", columns, path, identity, source)
