"""Which rank file and which data a command means when it names them, or not."""

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
    """The ranks that a command means.

    Attributes
    ----------
    path : Path
    name : str
        What they are called in messages and in what is made from them.
    notes : tuple of str
        What must be recorded in whatever is made from them.
    """

    path: Path
    name: str
    notes: tuple[str, ...] = ()


def ranks_source(source: Path | None) -> RanksSource:
    """Return the ranks meant: a file, a published name, the only file here, else ``cifar10``.

    Raises
    ------
    UsageError
        If the argument is neither a file nor a published name, or there are several files here.
    FetchError
        If published ranks, and those that stand in for them, cannot be had.
    """
    from datacurate.publishing.fetching import fetch, published_entries

    if source is not None:
        if source.exists() and not source.is_dir():
            return RanksSource(source, source.name)
        name = str(source)
        if name not in published_entries():
            return RanksSource(path := rank_file_path(source), path.name)
    else:
        if any(Path().glob(_PATTERN)):
            return RanksSource(path := rank_file_path(None), path.name)
        name = _PUBLISHED
        console.note(f"no rank file ({_PATTERN}) in this directory: using published ranks")
    found = fetch(name, tell=console.note, or_stand_in=True)
    return RanksSource(found.path, f"{found.name} ({found.origin})", found.notes)


def pruned(
    meant: RanksSource,
    keep: str,
    data: Path | None,
    *,
    by: str = "problematic_rank",
    direction: Literal["high", "low"] | None = None,
    **choice: Any,
) -> IndexFile:
    """Return which examples ranks keep, with all that must be recorded and said of them.

    Parameters
    ----------
    meant : RanksSource
    keep : str
        An amount; see `datacurate.selection.amounts.parse_amount`.
    data : Path, optional
        What was given as ``--data``.
    by, direction, **choice
        As for `datacurate.pruning.prune`.

    Raises
    ------
    DatacurateError
        As reading, comparing with data and pruning do.
    """
    from datacurate import pruning
    from datacurate.formats import rankfile
    from datacurate.selection.amounts import parse_amount

    rankfile.require_column(meant.path, by)
    ranks = rankfile.read(meant.path, columns=("probability", by))
    console.note(f"ranks: {meant.name}: {pruning.describe_ranks(ranks)}")
    amount = parse_amount(keep, int(ranks.profiled.sum()))
    ranks, match = joined_with_data(ranks, meant.name, data)
    index = pruning.prune(
        ranks,
        amount,
        by=by,
        direction=direction,
        name=meant.name,
        match=match,
        noted=meant.notes,
        **choice,
    )
    for line in index.warnings:
        console.warn(line)
    return index


def joined_with_data(
    ranks: RankFile, name: str, data: Path | None
) -> tuple[RankFile, Match | None]:
    """Return ranks, and how their data relates to the data at hand, if any is.

    Ranks that do not know their labels get them from the data given, or else from the data set as
    it lies on this machine.

    Raises
    ------
    DataMismatchError
        If data was given that the ranks were not made for.
    DataError
        If the data given cannot be read.
    """
    labelled = ranks.identity.labelled
    if data is None and labelled:
        return ranks, None
    from datacurate.data import adopt_official_identity, load_train
    from datacurate.errors import DataError, DataNotFoundError
    from datacurate.identity import require_match

    try:
        images = load_train(
            *recorded_data(ranks.identity.name, data),
            tell=console.note,
            allow_download=data is not None,
        )
        match = require_match(ranks.identity, images.identity, f"the ranks in {name}")
    except DataError as error:
        if data is not None:
            raise
        if not isinstance(error, DataNotFoundError):
            console.warn(f"the data on this machine was passed over: {error.what}")
        return ranks, None
    if not labelled:
        console.note(f"labels: {images.source['location']}")
        ranks = dataclasses.replace(
            ranks, identity=adopt_official_identity(ranks.identity, images.identity)
        )
    return ranks, match


def rank_file_path(source: Path | None) -> Path:
    """Return the rank file given, else the only one in the current directory.

    Raises
    ------
    UsageError
        If it does not exist, or there is none, or several to choose from.
    """
    here = sorted(Path().glob(_PATTERN))
    among = ", ".join(map(str, here))
    if source is not None:
        if not source.exists():
            raise UsageError(
                f"there is no rank file {source}",
                got=f"in this directory: {among}" if here else "no rank file in this directory",
                hint="give one that exists, or make one: datacurate profile cifar10",
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
            got=among,
            hint=f"name one: datacurate prune {here[0]} ...",
        )
    return here[0]


def recorded_data(name: str, data: Path | None) -> tuple[str, Path | None]:
    """Return the arguments for `datacurate.data.load` of the data set that a file was made for.

    Parameters
    ----------
    name : str
        As the file's identity states it. A name that datacurate does not know is that of a
        folder of the user's own, which only its path can find.
    data : Path, optional
        What was given as ``--data``.
    """
    from datacurate.data import known_names

    if name in known_names() or data is None:
        return name, data
    return str(data), None
