"""From the scores of other software to a rank file that says whose they are and how they rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.fingerprints import sha256_file
from datacurate.formats.ordering import Direction, rank_by, rank_of_column
from datacurate.formats.provenance import Provenance
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers.tables import F64


def ranked_by(
    column: str,
    direction: Direction,
    columns: Mapping[str, F64],
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
) -> RankFile:
    """Return the rank file of scores that were read from a file.

    Equal input gives an equal rank file, down to its content hash.

    Parameters
    ----------
    column : str
        Which of `columns` orders the examples.
    direction : str
        Which end of it is problematic.
    columns : mapping of str to ndarray of float64, shape (N,)
        What the file held.
    path : Path
        The file, a parent of the result.
    identity : Identity
        Of the N examples.
    source : mapping
        Where the file came from.
    """
    provenance = Provenance(
        kind="import",
        aggregation="column",
        runs=(),
        source={**source, "column": column, "problematic": direction},
        parents=({"name": path.name, "sha256": sha256_file(path)},),
    )
    # The order needs the file's columns, and the file needs the order: begin with none.
    unranked: dict[str, npt.NDArray[Any]] = {
        "position": np.arange(len(identity)),
        **columns,
    }
    ranks = RankFile(identity, unranked, provenance)
    share = rank_of_column(ranks, column, direction)
    # Equal shares are equal scores, so the order by one is the order by the other.
    position = rank_by(ranks, column, direction).position
    ordered = {"problematic_rank": share, "position": position, **columns}
    return dataclasses.replace(ranks, columns=ordered)
