"""The ranks that the paper's authors published: a bare array, one value an example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datacurate.fingerprints import sha256_file
from datacurate.formats.provenance import Provenance
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers.options import ImportOptions
from datacurate.importers.tables import first, read_array, refused
from datacurate.ranks import ranking


def read_upstream(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions = ImportOptions(),
) -> RankFile:
    """Read the authors' ``prob_rank.npy``: for each example its place divided by N.

    Equal input gives an equal rank file, down to its content hash: nothing of this machine or of
    the time goes into it.

    Parameters
    ----------
    path : Path
        A ``.npy`` of float64, shape (N,), the values 0/N … (N − 1)/N, each once, the highest the
        most problematic.
    identity : Identity
        Of the N examples the ranks are of, which the file itself does not state.
    source : mapping
        Where the file came from, for the provenance.
    options : ImportOptions
        Not used: the format states everything.

    Raises
    ------
    FileError
        If the file is missing, is not such an array, or has another number of examples.
    """
    score = read_array(path)
    if score.dtype.str != "<f8" or score.shape != (len(identity),):
        raise refused(
            path,
            f"a float64 for each of the {len(identity):,} examples of {identity.name}",
            f"{score.dtype} of shape {score.shape}",
        )
    if not np.isfinite(score).all():
        raise refused(
            path, "a number for every example", f"NaN in row {first(~np.isfinite(score))}"
        )
    steps = np.arange(len(score)) / len(score)
    if not np.array_equal(ordered := np.sort(score), steps):
        row = first(ordered != steps)
        raise refused(
            path,
            f"the values 0/{len(score)} … {len(score) - 1}/{len(score)}, each once",
            f"{ordered[row]!s} where {steps[row]!s} is next",
        )
    order = ranking.rank(score, identity.label_fingerprint)
    return RankFile(
        identity,
        {"problematic_rank": order.score, "position": order.position},
        Provenance(
            kind="import",
            aggregation="given",
            runs=(),
            source=dict(source),
            parents=({"name": path.name, "sha256": sha256_file(path)},),
        ),
    )
