"""The ranks that the paper's authors published: a bare array, one value an example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import FileError
from datacurate.files.provenance import Provenance
from datacurate.files.rankfile import RankFile
from datacurate.fingerprints import sha256_file
from datacurate.identity import Identity
from datacurate.ranks import ranking


def read_upstream(path: Path, identity: Identity, source: Mapping[str, Any]) -> RankFile:
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
        Where the file came from; goes into the provenance.

    Raises
    ------
    FileError
        If the file is missing, no such array, or of another number of examples.
    """
    score = _read(path)
    if score.dtype.str != "<f8" or score.shape != (len(identity),):
        raise _refused(
            path,
            f"a float64 for each of the {len(identity):,} examples of {identity.name}",
            f"{score.dtype} of shape {score.shape}",
        )
    if not np.isfinite(score).all():
        raise _refused(
            path, "a number for every example", f"NaN in row {_first(~np.isfinite(score))}"
        )
    steps = np.arange(len(score)) / len(score)
    if not np.array_equal(ordered := np.sort(score), steps):
        row = _first(ordered != steps)
        raise _refused(
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


def _read(path: Path) -> npt.NDArray[Any]:
    if not path.is_file():
        raise FileError(f"there is no file {path}")
    try:
        # Mapped first: a header that promises more than the file holds is refused by that.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise _refused(path, "a .npy of numbers", str(error) or type(error).__name__) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise _refused(path, "a .npy of numbers", "an archive")
    return np.array(array)


def _first(wrong: npt.NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(wrong)[0])


def _refused(path: Path, expected: str, got: str) -> FileError:
    return FileError(f"{path} does not hold the ranks of every example", expected=expected, got=got)
