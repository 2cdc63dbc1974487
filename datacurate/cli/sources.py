"""Find the rank file and the data that a command uses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datacurate.cli import console
from datacurate.errors import UsageError

if TYPE_CHECKING:
    from datacurate.formats.indexfile import IndexFile
    from datacurate.formats.rankfile import RankFile
    from datacurate.identity import Match

_PATTERN = "*.ranks.h5"
_PUBLISHED = "cifar10"


@dataclasses.dataclass(frozen=True)
class RanksSource:
    """The ranks that a command uses.

    Attributes
    ----------
    path : Path
    name : str
        Their name in messages and in files made from them.
    notes : tuple of str
        Warnings to record in files made from them.
    """

    path: Path
    name: str
    notes: tuple[str, ...] = ()


def find_ranks(source: Path | None) -> RanksSource:
    """Return the ranks to use: a file, a published name, the only file here, or ``cifar10``.

    Raises
    ------
    UsageError
        If the argument is neither a file nor a published name, or if it is left out and the
        current directory has several rank files.
    FetchError
        If neither the published ranks nor their replacement are available.
    """
    from datacurate.publishing.fetching import fetch, published_entries

    if source is not None:
        if source.exists() and not source.is_dir():
            return RanksSource(source, source.name)
        name = str(source)
        if name not in published_entries():
            return RanksSource(path := find_rank_file(source), path.name)
    else:
        if any(Path().glob(_PATTERN)):
            return RanksSource(path := find_rank_file(None), path.name)
        name = _PUBLISHED
        console.note(f"no rank file ({_PATTERN}) in this directory: using published ranks")
    fetched = fetch(name, tell=console.note, or_stand_in=True)
    return RanksSource(fetched.path, f"{fetched.name} ({fetched.origin})", fetched.notes)


def prune_source(
    source: RanksSource,
    keep: str,
    data: Path | None,
    *,
    by: str = "problematic_rank",
    direction: Literal["high", "low"] | None = None,
    **choice: Any,
) -> IndexFile:
    """Prune by ranks; print the warnings and return the kept examples.

    Parameters
    ----------
    source : RanksSource
    keep : str
        Amount to keep; see `datacurate.selection.amounts.parse_amount`.
    data : Path, optional
        The value of ``--data``.
    by, direction, **choice
        As for `datacurate.pruning.prune`.

    Raises
    ------
    DatacurateError
        If the ranks or the data cannot be read, do not match, or the pruning fails.
    """
    from datacurate import pruning
    from datacurate.formats import rankfile
    from datacurate.selection.amounts import parse_amount

    rankfile.require_column(source.path, by)
    ranks = rankfile.read(source.path, columns=("probability", by))
    console.note(f"ranks: {source.name}: {pruning.describe_ranks(ranks)}")
    amount = parse_amount(keep, int(ranks.profiled.sum()))
    ranks, match = match_with_data(ranks, source.name, data)
    index = pruning.prune(
        ranks,
        amount,
        by=by,
        direction=direction,
        name=source.name,
        match=match,
        noted=source.notes,
        **choice,
    )
    for line in index.warnings:
        console.warn(line)
    return index


def match_with_data(ranks: RankFile, name: str, data: Path | None) -> tuple[RankFile, Match | None]:
    """Match ranks with the data at hand.

    Ranks without labels take them from the given data, or from the data set on this machine.

    Returns
    -------
    RankFile
        The ranks, with labels if the data has them.
    Match or None
        How the data of the ranks relates to the data at hand; None without data.

    Raises
    ------
    DataMismatchError
        If the ranks were not made for the given data.
    DataError
        If the given data cannot be read.
    """
    labelled = ranks.identity.labelled
    if data is None and labelled:
        return ranks, None
    from datacurate.data import adopt_official_identity, load_train
    from datacurate.errors import DataError, DataNotFoundError
    from datacurate.identity import require_match

    try:
        images = load_train(
            *load_arguments(ranks.identity.name, data),
            tell=console.note,
            allow_download=data is not None,
        )
        match = require_match(ranks.identity, images.identity, f"the ranks in {name}")
    except DataError as error:
        if data is not None:
            raise
        if not isinstance(error, DataNotFoundError):
            console.warn(f"the data on this machine is not used: {error.what}")
        return ranks, None
    if not labelled:
        console.note(f"labels: {images.source['location']}")
        ranks = dataclasses.replace(
            ranks, identity=adopt_official_identity(ranks.identity, images.identity)
        )
    return ranks, match


def find_rank_file(source: Path | None) -> Path:
    """Return the given rank file, or the only one in the current directory.

    Raises
    ------
    UsageError
        If the file does not exist, or if the directory has no rank file or several.
    """
    here = sorted(Path().glob(_PATTERN))
    listing = ", ".join(map(str, here))
    if source is not None:
        if not source.exists():
            raise UsageError(
                f"there is no rank file {source}",
                got=f"in this directory: {listing}" if here else "no rank file in this directory",
                hint="give an existing file, or make one: datacurate profile cifar10",
            )
        return source
    if not here:
        raise UsageError(
            f"there is no rank file ({_PATTERN}) in this directory",
            hint="give one, or make one: datacurate profile cifar10",
        )
    if len(here) > 1:
        raise UsageError(
            f"there are {len(here)} rank files in this directory",
            got=listing,
            hint=f"name one: datacurate prune {here[0]} ...",
        )
    return here[0]


def load_arguments(name: str, data: Path | None) -> tuple[str, Path | None]:
    """Return the arguments of `datacurate.data.load` for the data set of a file.

    Parameters
    ----------
    name : str
        The name in the file's identity. If it is not a known name, it is that of a user's
        folder, which needs a path.
    data : Path, optional
        The value of ``--data``.
    """
    from datacurate.data import known_names

    if name in known_names() or data is None:
        return name, data
    return str(data), None
