"""Fetch published ranks by name: from the cache, the package, the Hub or the authors.

Every file is checked against its hash.
"""

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
class FetchedRanks:
    """A rank file after its download and check.

    Attributes
    ----------
    name : str
        The requested name, or the name of the ranks used in its place.
    path : Path
        In a cache or in the package; do not write to it.
    origin : str
        Pinned address of the ranks.
    content_sha256 : str
    notes : tuple of str
        Warnings to show and to record in every file made from these ranks.
    """

    name: str
    path: Path
    origin: str
    content_sha256: str
    notes: tuple[str, ...] = ()


def fetch(name: str, *, tell: Notify | None = None, or_stand_in: bool = False) -> FetchedRanks:
    """Return published ranks of the registry.

    Parameters
    ----------
    name : str
        Name in the registry.
    tell : callable, optional
        Called with messages about the download.
    or_stand_in : bool
        Whether to use registered ranks of the same data, with a note, if no source is available.

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
        return _fetch_entry(entries[name], say)
    except FetchError as error:
        other = stand_in(entries, name)
        if not or_stand_in or other is None:
            raise
        fetched = _fetch_entry(other, say)
        note = (
            f"the published ranks {name} are not available ({error.what}), so {other.name} stand "
            f"in for them: {other.summary}"
        )
        return FetchedRanks(
            other.name, fetched.path, fetched.origin, fetched.content_sha256, (note,)
        )


def import_copy(name: str, raw: Path) -> tuple[RankFile, str]:
    """Import registered ranks from a local copy of the authors' array, without a network.

    Raises
    ------
    UnknownNameError
        If the registry has no such name.
    FileError
        If the copy does not have the hash in the registry.
    """
    entries = load()
    if name not in entries:
        raise UnknownNameError("published ranks", name, entries)
    got = sha256_file(raw) if raw.is_file() else "no such file"
    for source in entries[name].sources:
        if source.kind == "upstream" and source.sha256 == got:
            return _import_array(entries[name], source, raw), source.address
    raise FileError(
        f"{raw} is not the file of the published ranks {name}",
        expected=" or ".join(f"sha256 {each.sha256}" for each in entries[name].sources),
        got=f"sha256 {got}" if raw.is_file() else got,
    )


def fetch_from(
    repository: str, name: str, revision: str | None = None, *, tell: Notify | None = None
) -> FetchedRanks:
    """Fetch ranks by name from a data set repository on the Hub.

    The file must match the list of hashes in the repository and its own content hash. Without a
    network the cached file is used, with a message.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    name : str
        The file name without ``.ranks.h5``.
    revision : str, optional
        A branch, tag or commit; by default the default branch.
    tell : callable, optional
        Called with messages about the download.

    Raises
    ------
    UsageError
        If a name is not valid.
    FetchError
        If the repository, revision or file does not exist, there is no access or no network, or a
        hash differs.
    """
    say = tell or (lambda _: None)
    file = check_name(name) + rankfile.SUFFIX
    commit = _resolve_commit(check_repository(repository), file, revision, say)
    expected = _published_sha256(repository, file, commit)
    path = _download_checked(repository, file, commit, expected, say)
    origin = f"hf://datasets/{repository}@{commit}/{file}"
    return FetchedRanks(name, path, origin, _content_sha256(path))


def fetch_revision(name: str, revision: str, *, tell: Notify | None = None) -> FetchedRanks:
    """Fetch another revision of registered ranks from their repository.

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


def published_entries() -> Mapping[str, Entry]:
    """Return the entries of the registry by name."""
    return load()


def ranks_cache() -> Path:
    """Return the cache directory of ranks downloaded from URLs; it may not exist yet.

    Files from the Hub are in the cache of the Hub's client.
    """
    return Path(platformdirs.user_cache_dir("datacurate")) / "ranks"


def _fetch_entry(entry: Entry, say: Notify) -> FetchedRanks:
    """Return the rank file of an entry from the first source that has it."""
    failures: list[DatacurateError] = []
    for source in entry.sources:
        try:
            path = _SOURCE_READERS[source.kind](entry, source, say)
        except (FetchError, FileError) as error:
            failures.append(error)
            continue
        if (got := _content_sha256(path)) == entry.content_sha256:
            return FetchedRanks(entry.name, path, source.address, got)
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
        f"the published ranks {entry.name} are not available",
        got="; ".join(" ".join(str(failure).split()) for failure in failures),
        hint="check the network connection",
    )


def _bundled_file(entry: Entry, source: Source, say: Notify) -> Path:
    path = artifacts_directory() / source.file
    if not path.is_file() or (got := sha256_file(path)) != source.sha256:
        raise FetchError(
            f"{path} is not the file that comes with datacurate",
            expected=f"sha256 {source.sha256}",
            got=f"sha256 {got}" if path.is_file() else "no such file",
            hint="install datacurate again",
        )
    return path


def _repository_file(entry: Entry, source: Source, say: Notify) -> Path:
    return _download_checked(source.repository, source.file, source.revision, source.sha256, say)


def _upstream_file(entry: Entry, source: Source, say: Notify) -> Path:
    """Return the rank file imported from the authors' array; download the array if necessary."""
    imported = ranks_cache() / entry.content_sha256[:16] / f"{entry.name}{rankfile.SUFFIX}"
    if imported.is_file() and _has_content(imported, entry.content_sha256):
        return imported
    raw = ranks_cache() / source.sha256[:16] / source.url.rpartition("/")[2]
    for place in (imported.parent, raw.parent):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the cache {place} cannot be created: {error.strerror}",
                hint="set XDG_CACHE_HOME to a writable directory",
            ) from error
    if not raw.is_file() or sha256_file(raw) != source.sha256:
        if hub.offline():
            raise UnreachableError(
                f"{source.url} is not in the cache, and HF_HUB_OFFLINE is set",
                hint="unset HF_HUB_OFFLINE",
            )
        download(source.url, raw, f"sha256:{source.sha256}", size=source.size, tell=say)
    rankfile.write(imported, _import_array(entry, source, raw), force=True)
    return imported


def _import_array(entry: Entry, source: Source, raw: Path) -> RankFile:
    about = {
        "summary": entry.summary,
        "url": entry.origin,
        "sha256": source.sha256,
        "licence": entry.licence,
        "recipe": entry.recipe,
        "runs": entry.runs,
    }
    return read_upstream(raw, official_identity(entry.dataset, entry.split), about)


_SOURCE_READERS: Mapping[str, Callable[[Entry, Source, Notify], Path]] = {
    "bundled": _bundled_file,
    "hub": _repository_file,
    "upstream": _upstream_file,
}


def _resolve_commit(repository: str, file: str, revision: str | None, say: Notify) -> str:
    """Return the commit of a revision: from the Hub, or from the cache without a network."""
    cached = hub.cached_file(repository, file, revision)
    if cached is not None and revision is not None and is_commit(revision):
        return revision
    try:
        head = hub.head(repository, revision)
    except UnreachableError as error:
        if cached is None:
            raise
        commit = cached.parent.name
        say(f"{error.what}: using the cached files of {repository}@{commit}")
        return commit
    if file not in head.files:
        rank_files = sorted(name for name in head.files if name.endswith(rankfile.SUFFIX))
        raise FetchError(
            f"{repository} has no file {file}",
            got=", ".join(map(repr, rank_files[:20])) or "no rank file",
            hint="give the name of one of its files, without .ranks.h5",
        )
    # Request the file by branch or tag, so that the cache records its commit.
    return hub.fetch_file(repository, SUMS, revision or _DEFAULT_BRANCH).parent.name


def _published_sha256(repository: str, file: str, commit: str) -> str:
    """Return the sha256 of a file according to the list of hashes in its repository."""
    path = hub.fetch_file(repository, SUMS, commit)
    if path.stat().st_size > _MOST_SUMS_BYTES:
        raise FetchError(f"{SUMS} of {repository} is too large for a list of hashes")
    text = path.read_text(encoding="utf-8", errors="replace")
    sums = {match[2]: match[1] for match in map(_SUM.fullmatch, text.splitlines()) if match}
    if file not in sums:
        raise FetchError(
            f"{SUMS} of {repository} has no hash of {file}",
            hint="ask its owner to publish it with `datacurate publish`",
        )
    return sums[file]


def _download_checked(repository: str, file: str, commit: str, expected: str, say: Notify) -> Path:
    """Return a file of the Hub with the expected hash; download it again once if it differs."""
    if hub.cached_file(repository, file, commit) is None:
        say(f"downloading {file} of {repository}@{commit[:12]} from the Hub")
    path = hub.fetch_file(repository, file, commit)
    if sha256_file(path) == expected:
        return path
    say(f"{file} of {repository} has an unexpected hash; downloading it again")
    path = hub.fetch_file(repository, file, commit, again=True)
    if (got := sha256_file(path)) != expected:
        raise FetchError(
            f"{file} of {repository} has an unexpected hash",
            expected=f"sha256 {expected}",
            got=f"sha256 {got}",
            hint="do not use this file, and tell its owner",
        )
    return path


def _content_sha256(path: Path) -> str:
    with rankfile.opened(path) as (_, metadata):
        return metadata.content_sha256


def _has_content(path: Path, content_sha256: str) -> bool:
    """Return whether a rank file is readable and has this content hash."""
    try:
        return rankfile.read(path).content_sha256 == content_sha256
    except FileError:
        return False
