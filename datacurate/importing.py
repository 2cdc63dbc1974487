"""Import ranks and scores of other software into a rank file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datacurate.data import OfficialStatus, load_train, official_status
from datacurate.data.known import KNOWN, official_identity
from datacurate.errors import DataError, DataMismatchError, UsageError
from datacurate.fingerprints import sha256_file
from datacurate.formats.ordering import Direction
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers.options import ImportOptions
from datacurate.importers.table import importer_named
from datacurate.remote import registry


def import_ranks(
    path: Path,
    kind: str,
    identity: Identity,
    *,
    direction: Direction | None = None,
    never: float | None = None,
    url: str = "",
) -> RankFile:
    """Return the rank file of ranks or scores that other software wrote.

    Parameters
    ----------
    path : Path
    kind : str
        Name of a format; see `datacurate.importers.table.IMPORTERS`.
    identity : Identity
        Identity of the examples; see `identity_for`.
    direction : str, optional
        Which end is problematic, for a format that does not state it.
    never : float, optional
        The count that means "never learned", for a format that has one.
    url : str
        Where the file came from. For files of the registry it is known.

    Raises
    ------
    FileError
        If the file is not of that format, or is of other examples.
    UsageError, UnknownNameError
        If an option is given that the format does not take, or one is missing that it needs.
    """
    importer = importer_named(kind)
    if direction is not None and importer.direction_known:
        raise UsageError(
            f"the format {kind} states which end is problematic", hint="drop --direction"
        )
    if never is not None and not importer.takes_never:
        raise UsageError(f"{kind} has no count for never learned", hint="drop --never")
    source: dict[str, Any] = {"imported_as": kind, **_origin(path, url)}
    return importer.load()(path, identity, source, ImportOptions(direction, never))


def identity_for(
    dataset: str, data: Path | None = None, *, tell: Callable[[str], None] | None = None
) -> Identity:
    """Return the identity of the training examples that the ranks belong to.

    Parameters
    ----------
    dataset : str
        As for `datacurate.data.load`.
    data : Path, optional
        Folder of a data set with a known name. Without it, only the fingerprint of the official
        labels is known.
    tell : callable, optional
        Called with lines for the user.

    Raises
    ------
    DataError
        If nothing is published about the labels, or the data cannot be read.
    DataMismatchError
        If the data has the name of a known data set and is not the official one. Its rows may be
        other examples than those of the ranks.
    """
    known = KNOWN.get(dataset)
    if known is not None and data is None and known.archive is not None:
        if "train" not in known.official:
            raise DataError(
                f"the labels of {known.title} are not published with a fingerprint",
                hint="give the images: --data DIR",
            )
        return official_identity(dataset, "train")
    identity = load_train(dataset, data, tell=tell).identity
    how, why = official_status(identity)
    if how is OfficialStatus.DIFFERENT:
        raise DataMismatchError(
            f"the data in {data} is {why}",
            expected="the data in the order that the ranks are in",
            hint="leave --data out; or, if the ranks were made from this very data, give its path "
            "as --dataset",
        )
    return identity


def _origin(path: Path, url: str) -> dict[str, str]:
    """Return where a file came from: as stated, or as the registry knows it by its hash."""
    if url or not path.is_file():
        return {"url": url} if url else {}
    digest = sha256_file(path)
    for entry in registry.load().values():
        for source in entry.sources:
            if source.kind == "upstream" and source.sha256 == digest:
                return {"url": entry.origin, "licence": entry.licence, "sha256": digest}
    return {}
