"""EL2N scores (Paul et al., 2021): the norm of the error vector early in standard training.

https://arxiv.org/abs/2107.07075
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


def read_el2n(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions = ImportOptions(),
) -> RankFile:
    """Read EL2N scores; a large error is problematic.

    Parameters
    ----------
    path : Path
        A ``.npy`` of 0 or more for each example in order, shape (N,).
    identity : Identity
        Identity of the N examples.
    source : mapping
        Where the file came from, for the provenance.
    options : ImportOptions
        Not used: the format states everything.

    Raises
    ------
    FileError
        If the file is missing, is not such an array, or has another number of examples.
    """
    scores = tables.one_each(path, tables.read_array(path), len(identity))
    tables.require_finite(path, "EL2N", scores, least=0)
    return ranked_by("el2n", "high", {"el2n": scores}, path, identity, source)
