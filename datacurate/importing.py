"""Ranks and scores of other software → a rank file, for a data set that is named or at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from datacurate.data import Standing, load_train, standing
from datacurate.data.known import KNOWN, official_identity
from datacurate.errors import DataError, DataMismatchError, UnknownNameError, UsageError
from datacurate.fingerprints import sha256_file
from datacurate.formats.ordering import Direction
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity
from datacurate.importers.aum import read_aum
from datacurate.importers.cartography import read_cartography
from datacurate.importers.el2n import read_el2n
from datacurate.importers.forgetting import read_forgetting
from datacurate.importers.scores import read_scores
from datacurate.importers.upstream import read_upstream
from datacurate.remote import registry

Kind = Literal["upstream", "forgetting", "el2n", "aum", "cartography", "scores"]
Read = Callable[[Path, Identity, Mapping[str, Any]], RankFile]

_PLAIN: Mapping[str, Read] = {
    "upstream": read_upstream,
    "el2n": read_el2n,
    "aum": read_aum,
    "cartography": read_cartography,
}


def import_ranks(
    path: Path,
    kind: Kind,
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
        Whose they are; see the modules in `datacurate.importers`.
    identity : Identity
        Of the examples they are of; see `identity_for`.
    direction : str, optional
        Which end is problematic; needed for ``"scores"``, known for all others.
    never : float, optional
        As for `datacurate.importers.forgetting.read_forgetting`.
    url : str
        Where the file came from; known for files of the registry.

    Raises
    ------
    FileError
        If the file is not of that kind, or of other examples.
    UsageError, UnknownNameError
        If something is given that the kind does not take, or missing that it needs.
    """
    if kind not in get_args(Kind):
        raise UnknownNameError("kind of file", kind, get_args(Kind))
    if (direction is not None) != (kind == "scores"):
        raise UsageError(
            "nothing says which end of the scores is problematic"
            if kind == "scores"
            else f"which end of {kind} is problematic is known",
            hint="--direction high, or --direction low" if kind == "scores" else "drop --direction",
        )
    if never is not None and kind != "forgetting":
        raise UsageError(f"{kind} has no count for never learned", hint="drop --never")
    source: dict[str, Any] = {"imported_as": kind, **_origin(path, url)}
    if kind == "forgetting":
        return read_forgetting(path, identity, source, never)
    if direction is not None:
        return read_scores(path, identity, source, direction)
    return _PLAIN[kind](path, identity, source)


def identity_for(
    dataset: str, data: Path | None = None, *, tell: Callable[[str], None] | None = None
) -> Identity:
    """Return the identity of the training examples that ranks are said to be of.

    Parameters
    ----------
    dataset : str
        As for `datacurate.data.load`.
    data : Path, optional
        Where a data set of a known name is. Without it, only the fingerprint of the official labels
        is known.
    tell : callable, optional
        Called with lines for people.

    Raises
    ------
    DataError
        If nothing is published about the labels, or the data cannot be read.
    DataMismatchError
        If the data at hand goes by the name of a data set and is not the official one: its rows
        may be other examples than those the ranks are of.
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
    how, why = standing(identity)
    if how is Standing.DIFFERENT:
        raise DataMismatchError(
            f"the data in {data} is {why}",
            expected="the data in the order that the ranks are in",
            hint="leave --data out; or, if the ranks were made from this very data, give its path "
            "as --dataset",
        )
    return identity


def _origin(path: Path, url: str) -> dict[str, str]:
    """Return where a file came from: as said, or as the registry knows it by its hash."""
    if url or not path.is_file():
        return {"url": url} if url else {}
    digest = sha256_file(path)
    for entry in registry.load().values():
        for source in entry.sources:
            if source.kind == "upstream" and source.sha256 == digest:
                return {"url": entry.origin, "licence": entry.licence, "sha256": digest}
    return {}
