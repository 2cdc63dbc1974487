"""Forgetting counts (Toneva et al., 2019): the pickle of their published code, or a plain array.

https://arxiv.org/abs/1812.05159
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datacurate.errors import DataError, FileError
from datacurate.formats.pickles import load_arrays
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers import tables
from datacurate.importers.imported import ranked_by
from datacurate.importers.options import ImportOptions
from datacurate.importers.tables import F64, refused
from datacurate.ranks.scores import NEVER

_MOST_PICKLE_BYTES = 1 << 31
_INDICES, _COUNTS = "indices", "forgetting counts"


def read_forgetting(
    path: Path,
    identity: Identity,
    source: Mapping[str, Any],
    options: ImportOptions = ImportOptions(),
) -> RankFile:
    """Read how often each example was forgotten in standard training; often is problematic.

    An example that was never learned was never forgotten either, but it is not friendly. Its count
    becomes −1, and it ranks as the most problematic.

    Parameters
    ----------
    path : Path
        A pickle of a dictionary with ``indices`` and ``forgetting counts``, each of shape (N,):
        rows and their counts. Or a ``.npy`` of counts of shape (N,).
    identity : Identity
        Identity of the N examples.
    source : mapping
        Where the file came from, for the provenance.
    options : ImportOptions
        `never` is the count that means "never learned"; −1 and infinity always do. The published
        code gives such examples the number of epochs, summed over seeds.

    Raises
    ------
    FileError
        If the file is missing, is neither, or has another number of examples.
    """
    never = options.never
    if path.suffix == ".npy":
        counts = tables.one_each(path, tables.read_array(path), len(identity))
    else:
        counts = _from_pickle(path, len(identity))
    unlearned = (counts == NEVER) | (counts == np.inf)
    if never is not None:
        unlearned |= counts == never
    tables.require_finite(path, "forgetting count", np.where(unlearned, 0, counts), least=0)
    columns = {"clean_forgetting": np.where(unlearned, float(NEVER), counts)}
    stated = {**source, "never_learned": "−1 in clean_forgetting"}
    if never is not None:
        stated["never_learned_was"] = never
    return ranked_by("clean_forgetting", "high", columns, path, identity, stated)


def _from_pickle(path: Path, examples: int) -> F64:
    if not path.is_file():
        raise FileError(f"there is no file {path}")
    try:
        if path.stat().st_size > _MOST_PICKLE_BYTES:
            raise refused(path, "a pickle of at most 2 GiB", f"{path.stat().st_size:,} bytes")
        content = load_arrays(path.read_bytes(), str(path))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except DataError as error:
        raise FileError(
            error.what, expected=error.expected, got=error.got, hint=error.hint
        ) from error
    expected = f"a dictionary of {_INDICES!r} and {_COUNTS!r}, {examples:,} integers each"
    indices, counts = content.get(_INDICES), content.get(_COUNTS)
    if not isinstance(indices, np.ndarray) or not isinstance(counts, np.ndarray):
        raise refused(path, expected, ", ".join(map(repr, list(content)[:8])) or "nothing")
    if indices.shape != (examples,) or counts.shape != (examples,):
        raise refused(path, expected, f"{indices.shape} and {counts.shape}")
    rows = indices.astype(np.int64)
    if not np.array_equal(np.sort(rows), np.arange(examples)):
        raise refused(path, f"each row of 0 to {examples - 1:,} once", "others, or some twice")
    return tables.in_rows(tables.one_each(path, counts, examples), rows)
