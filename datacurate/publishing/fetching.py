"""Published ranks by name: from the cache, the package, the Hub or the authors, always checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from datacurate.data.known import official_identity
from datacurate.errors import (
    DatacurateError,
    FetchError,
    FileError,
    OutputError,
    UnknownNameError,
    UnreachableError,
    UsageError,
)
from datacurate.fingerprints import sha256_file
from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.importers.upstream import read_upstream
from datacurate.notices import Notify
from datacurate.remote import hub
from datacurate.remote.artifacts import artifacts_directory
from datacurate.remote.download import download
from datacurate.remote.registry import (
    Entry,
    Source,
    check_name,
    check_repository,
    is_commit,
    load,
    stand_in,
)

SUMS = "SHA256SUMS"
_DEFAULT_BRANCH = "main"

_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")
_MOST_SUMS_BYTES = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A rank file that was fetched and checked.

    Attributes
    ----------
    name : str
        The name it was asked for by, or that of what stands in for it.
    path : Path
        In a cache or in the package: not to be written to.
    origin : str
        Its place, pinned.
    content_sha256 : str
    notes : tuple of str
        What must be told to the user and recorded in whatever is made from it.
    """

    name: str
    path: Path
    origin: str
    content_sha256: str
    notes: tuple[str, ...] = ()


def fetch(name: str, *, tell: Notify | None = None, or_stand_in: bool = False) -> Fetched:
    """Return published ranks of the registry.

    Parameters
    ----------
    name : str
        As in the registry.
    tell : callable, optional
        Called with lines for people.
    or_stand_in : bool
        Whether other ranks of the same data may take their place, with a note, when these can be
        had from nowhere.

    Raises
    ------
    UnknownNameError
        If the registry has no such name.
    FetchError
        If no source gives the right file.
    """
    say = tell or (lambda _: None)
    entries = load()
    if name not in entries:
        raise UnknownNameError(
            "published ranks", name, entries, hint="for a repository give --repo OWNER/NAME"
        )
    try:
        return _from_any(entries[name], say)
    except FetchError as error:
        other = stand_in(entries, name)
        if not or_stand_in or other is None:
            raise
        found = _from_any(other, say)
        note = (
            f"the published ranks {name} could not be had ({error.what}), so {other.name} stand in "
            f"for them: {other.summary}"
        )
        return Fetched(other.name, found.path, found.origin, found.content_sha256, (note,))


def from_copy(name: str, raw: Path) -> tuple[RankFile, str]:
    """Return registered ranks, and their origin, from a copy of the authors' array; no network.

    Raises
    ------
    UnknownNameError
        If the registry has no such name.
    FileError
        If the copy is not the file that the registry pins.
    """
    entries = load()
    if name not in entries:
        raise UnknownNameError("published ranks", name, entries)
    got = sha256_file(raw) if raw.is_file() else "no such file"
    for source in entries[name].sources:
        if source.kind == "upstream" and source.sha256 == got:
            return _from_array(entries[name], source, raw), source.address
    raise FileError(
        f"{raw} is not the file of the published ranks {name}",
        expected=" or ".join(f"sha256 {each.sha256}" for each in entries[name].sources),
        got=f"sha256 {got}" if raw.is_file() else got,
    )


def fetch_from(
    repository: str, name: str, revision: str | None = None, *, tell: Notify | None = None
) -> Fetched:
    """Return the ranks of a name from a data set repository on the Hub.

    The file must match the repository's own list of hashes, and its own content hash. Without a
    network the cache is used, and that is said.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    name : str
        The file without ``.ranks.h5``.
    revision : str, optional
        A branch, tag or commit; the default branch if not given.
    tell : callable, optional
        Called with lines for people.

    Raises
    ------
    UsageError
        If a name is none.
    FetchError
        If there is no such repository, revision or file, no access, no network, or a hash differs.
    """
    say = tell or (lambda _: None)
    file = check_name(name) + rankfile.SUFFIX
    commit = _commit(check_repository(repository), file, revision, say)
    expected = _stated_sum(repository, file, commit)
    path = _hub_file(repository, file, commit, expected, say)
    origin = f"hf://datasets/{repository}@{commit}/{file}"
    return Fetched(name, path, origin, _content(path))


def revision_of(name: str, revision: str, *, tell: Notify | None = None) -> Fetched:
    """Return another revision of registered ranks, from the repository that the registry names.

    Raises
    ------
    UsageError
        If they do not come from a repository.
    FetchError
        As for `fetch_from`.
    """
    entries = load()
    if name not in entries:
        raise UnknownNameError("published ranks", name, entries)
    for source in entries[name].sources:
        if source.kind == "hub":
            file = source.file.removesuffix(rankfile.SUFFIX)
            return fetch_from(source.repository, file, revision, tell=tell)
    raise UsageError(
        f"{name} has no revisions: it does not come from a repository",
        hint=f"datacurate fetch {name}, or give --repo OWNER/NAME",
    )


def listed() -> Mapping[str, Entry]:
    """Return what there is to fetch, by name."""
    return load()


def ranks_cache() -> Path:
    """Return the directory of ranks from plain addresses, which need not exist.

    What comes from the Hub is in the Hub's own cache.
    """
    return Path(platformdirs.user_cache_dir("datacurate")) / "ranks"


def _from_any(entry: Entry, say: Notify) -> Fetched:
    """Return an entry's rank file from the first source that gives it."""
    failures: list[DatacurateError] = []
    for source in entry.sources:
        try:
            path = _GET[source.kind](entry, source, say)
        except (FetchError, FileError) as error:
            failures.append(error)
            continue
        if (got := _content(path)) == entry.content_sha256:
            return Fetched(entry.name, path, source.address, got)
        failures.append(
            FetchError(
                f"{source.address} does not give the ranks {entry.name}",
                expected=f"content sha256 {entry.content_sha256}",
                got=f"content sha256 {got}",
            )
        )
    if len(failures) == 1 and isinstance(failures[0], FetchError):
        raise failures[0]
    raise FetchError(
        f"the published ranks {entry.name} could not be had",
        got="; ".join(" ".join(str(failure).split()) for failure in failures),
        hint="check the network connection",
    )


def _bundled(entry: Entry, source: Source, say: Notify) -> Path:
    path = artifacts_directory() / source.file
    if not path.is_file() or (got := sha256_file(path)) != source.sha256:
        raise FetchError(
            f"{path} is not the file that ships with datacurate",
            expected=f"sha256 {source.sha256}",
            got=f"sha256 {got}" if path.is_file() else "no such file",
            hint="install datacurate again",
        )
    return path


def _pinned(entry: Entry, source: Source, say: Notify) -> Path:
    return _hub_file(source.repository, source.file, source.revision, source.sha256, say)


def _upstream(entry: Entry, source: Source, say: Notify) -> Path:
    """Return the rank file made of the authors' array, which is downloaded if need be."""
    imported = ranks_cache() / entry.content_sha256[:16] / f"{entry.name}{rankfile.SUFFIX}"
    if imported.is_file() and _is(imported, entry.content_sha256):
        return imported
    raw = ranks_cache() / source.sha256[:16] / source.url.rpartition("/")[2]
    for place in (imported.parent, raw.parent):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the cache {place} cannot be made: {error.strerror}",
                hint="set XDG_CACHE_HOME to a directory that can be written",
            ) from error
    if not raw.is_file() or sha256_file(raw) != source.sha256:
        if hub.offline():
            raise UnreachableError(
                f"{source.url} is not in the cache, and HF_HUB_OFFLINE is set",
                hint="unset HF_HUB_OFFLINE",
            )
        download(source.url, raw, f"sha256:{source.sha256}", size=source.size, tell=say)
    rankfile.write(imported, _from_array(entry, source, raw), force=True)
    return imported


def _from_array(entry: Entry, source: Source, raw: Path) -> RankFile:
    about = {
        "summary": entry.summary,
        "url": entry.origin,
        "sha256": source.sha256,
        "licence": entry.licence,
        "recipe": entry.recipe,
        "runs": entry.runs,
    }
    return read_upstream(raw, official_identity(entry.dataset, entry.split), about)


_GET: Mapping[str, Callable[[Entry, Source, Notify], Path]] = {
    "bundled": _bundled,
    "hub": _pinned,
    "upstream": _upstream,
}


def _commit(repository: str, file: str, revision: str | None, say: Notify) -> str:
    """Return the commit that is meant: what the Hub says, or without a network the cache."""
    cached = hub.cached_file(repository, file, revision)
    if cached is not None and revision is not None and is_commit(revision):
        return revision
    try:
        head = hub.head(repository, revision)
    except UnreachableError as error:
        if cached is None:
            raise
        commit = cached.parent.name
        say(f"{error.what}: using what is cached, {repository}@{commit}")
        return commit
    if file not in head.files:
        there = sorted(name for name in head.files if name.endswith(rankfile.SUFFIX))
        raise FetchError(
            f"{repository} has no file {file}",
            got=", ".join(map(repr, there[:20])) or "no rank file",
            hint="give the name of one of its files, without .ranks.h5",
        )
    # Asked for by branch or tag, so that the cache knows later what that meant.
    return hub.fetch_file(repository, SUMS, revision or _DEFAULT_BRANCH).parent.name


def _stated_sum(repository: str, file: str, commit: str) -> str:
    """Return the sha256 that a repository's own list states for one of its files."""
    path = hub.fetch_file(repository, SUMS, commit)
    if path.stat().st_size > _MOST_SUMS_BYTES:
        raise FetchError(f"{SUMS} of {repository} is far too large to be one")
    text = path.read_text(encoding="utf-8", errors="replace")
    sums = {match[2]: match[1] for match in map(_SUM.fullmatch, text.splitlines()) if match}
    if file not in sums:
        raise FetchError(
            f"{SUMS} of {repository} does not state the hash of {file}",
            hint="ask its owner to publish it with `datacurate publish`",
        )
    return sums[file]


def _hub_file(repository: str, file: str, commit: str, expected: str, say: Notify) -> Path:
    """Return a file of the Hub if it has the right hash; once more from the Hub if not."""
    if hub.cached_file(repository, file, commit) is None:
        say(f"downloading {file} of {repository}@{commit[:12]} from the Hub")
    path = hub.fetch_file(repository, file, commit)
    if sha256_file(path) == expected:
        return path
    say(f"{file} of {repository} has another hash than is stated; downloading it once more")
    path = hub.fetch_file(repository, file, commit, again=True)
    if (got := sha256_file(path)) != expected:
        raise FetchError(
            f"{file} of {repository} is not the file that is stated",
            expected=f"sha256 {expected}",
            got=f"sha256 {got}",
            hint="do not use it, and tell its owner",
        )
    return path


def _content(path: Path) -> str:
    with rankfile.opened(path) as (_, metadata):
        return metadata.content_sha256


def _is(path: Path, content_sha256: str) -> bool:
    """Return whether a file is whole and has this content."""
    try:
        return rankfile.read(path).content_sha256 == content_sha256
    except FileError:
        return False
