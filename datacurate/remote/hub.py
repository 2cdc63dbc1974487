"""Data sets on the Hugging Face Hub: the one place that calls its client.

The client does the transfers, the cache and the token; here its errors become ours, failures that
pass are tried again, and nothing is printed.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from datacurate.errors import DatacurateError, FetchError, PublishError, UnreachableError
from datacurate.fingerprints import sha256_file

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_WAITS = (1.0, 2.0, 4.0)  # seconds between attempts, beside those that the client makes itself

T = TypeVar("T")


@dataclass(frozen=True)
class Head:
    """A repository at a moment.

    Attributes
    ----------
    commit : str
        40 hex digits.
    files : tuple of str
        The paths it states, which are its owner's words and not checked.
    """

    commit: str
    files: tuple[str, ...]


def offline() -> bool:
    """Return whether the user has told the Hub's client to do without the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def dataset_snapshot(
    repository: str, *, revision: str | None = None, folder: Path | None = None
) -> Path:
    """Download the parquet files of a data set repository.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, optional
        A branch, tag or commit; the default branch if not given.
    folder : Path, optional
        Where to put the files; the Hub's own cache if not given, from which they are also taken
        when there is no network.

    Returns
    -------
    Path
        The folder that holds them.

    Raises
    ------
    FetchError
        If there is no such repository or revision, no access to it, or no network.
    """
    with _errors(FetchError, f"the data set {repository} could not be downloaded from the Hub"):
        place = _client().snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            local_dir=folder,
            allow_patterns="*.parquet",
        )
    return Path(str(place))


def head(repository: str, revision: str | None = None) -> Head:
    """Return the commit that a revision of a data set repository means now, and its files.

    Raises
    ------
    UnreachableError
        If the Hub cannot be reached.
    FetchError
        If there is no such repository or revision, or no access to it.
    """
    what = f"{repository} cannot be looked up on the Hub"
    with _errors(FetchError, what):
        info = _patiently(lambda: _api().dataset_info(repository, revision=revision))
        if not info.sha:
            raise FetchError(f"{what}: it has no commit")
        return Head(info.sha, tuple(file.rfilename for file in info.siblings or ()))


def cached_file(repository: str, file: str, revision: str | None = None) -> Path | None:
    """Return a repository's file as the Hub's cache has it, or None; uses no network."""
    found = _client().try_to_load_from_cache(
        repository, file, repo_type="dataset", revision=revision
    )
    return Path(found) if isinstance(found, str) else None


def fetch_file(repository: str, file: str, revision: str, *, again: bool = False) -> Path:
    """Return a file of a data set repository from the Hub's cache, downloaded if need be.

    Parameters
    ----------
    repository, file : str
    revision : str
        A branch, tag or commit. The folder of the file has the commit's name.
    again : bool
        Whether to download it although it is cached.

    Raises
    ------
    FetchError
        If it cannot be had.
    """
    with _errors(FetchError, f"{file} of {repository} could not be downloaded from the Hub"):
        place = _patiently(
            lambda: _client().hf_hub_download(
                repository, file, repo_type="dataset", revision=revision, force_download=again
            )
        )
    return Path(str(place))


def holds_same(repository: str, file: str, commit: str, local: Path) -> bool | None:
    """Return whether a repository's file equals a local one, or None if it has no such file.

    Raises
    ------
    FetchError
        If that cannot be found out.
    """
    with _errors(FetchError, f"{repository} cannot be looked up on the Hub"):
        found = _patiently(
            lambda: _api().get_paths_info(repository, file, repo_type="dataset", revision=commit)
        )
    for info in found:
        if getattr(info, "lfs", None) is not None:
            return bool(info.lfs.sha256 == sha256_file(local))
        if hasattr(info, "blob_id"):
            data = local.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
            return bool(info.blob_id == blob.hexdigest())
    return None


def create_repository(repository: str, *, private: bool) -> None:
    """Create a data set repository unless it exists.

    Raises
    ------
    PublishError
        If that is not allowed, or the Hub cannot be reached.
    """
    with _errors(PublishError, f"the repository {repository} could not be created"):
        _patiently(
            lambda: _api().create_repo(
                repository, repo_type="dataset", private=private or None, exist_ok=True
            )
        )


def commit_folder(
    repository: str, folder: Path, files: Sequence[str], *, message: str, parent: str
) -> str:
    """Put files into a data set repository in one commit, and return the commit.

    Parameters
    ----------
    repository : str
    folder : Path
    files : sequence of str
        Paths in the folder, which are the paths in the repository.
    message : str
    parent : str
        The commit that was looked at; if there is another one by now, nothing is changed.

    Raises
    ------
    PublishError
        If anything fails; then the repository is as it was.
    """
    client = _client()
    with _errors(PublishError, f"{repository} could not be written"):
        # A commit whose answer was lost is not made twice: the second one finds another parent.
        done = _patiently(
            lambda: _api().create_commit(
                repository,
                [client.CommitOperationAdd(file, folder / file) for file in files],
                repo_type="dataset",
                commit_message=message,
                parent_commit=parent,
            )
        )
    return str(done.oid)


def dataset_card(metadata: Mapping[str, Any], body: str) -> str:
    """Return the text of a data set card: the Hub's YAML between rules, then Markdown."""
    data = _client().DatasetCardData(**metadata)
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def _client() -> Any:
    import huggingface_hub  # slow to import, and needed for nothing else here
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return huggingface_hub


def _api() -> Any:
    return _client().HfApi()


def _patiently(work: Callable[[], T]) -> T:
    """Return what a call returns, after more attempts if it fails in a way that may pass."""
    for wait in _WAITS:
        try:
            return work()
        except Exception as error:
            if not _may_pass(error):
                raise
            time.sleep(wait)
    return work()


def _may_pass(error: BaseException) -> bool:
    causes = _chain(error)
    if status := next(filter(None, map(_status, causes)), None):
        return status in _PASSING
    return not any(map(_is_unreachable, causes)) and any(map(_is_broken, causes))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and what caused it: the client wraps what its transport says."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, if it is about one."""
    return getattr(getattr(error, "response", None), "status_code", None)


# The client has changed its transport before, so that is known by the names of its errors.


def _is_unreachable(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ProxyError"})


def _is_broken(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "Timeout", "TimeoutError"})


@contextlib.contextmanager
def _errors(kind: type[DatacurateError], what: str) -> Iterator[None]:
    """Turn whatever the client raises into an error of ours that says what to do."""
    try:
        yield
    except DatacurateError:
        raise
    except Exception as error:  # its transport's errors share no base class with its own
        names = {kind.__name__ for cause in _chain(error) for kind in type(cause).__mro__}
        status = next(filter(None, map(_status, _chain(error))), None)
        reason, hint = _explained(names, status, error)
        if status is None and any(map(_is_unreachable, _chain(error))):
            unreachable = UnreachableError if kind is FetchError else kind
            raise unreachable(f"{what}: {reason}", hint=hint) from error
        raise kind(f"{what}: {reason}", hint=hint) from error


def _explained(names: set[str], status: int | None, error: BaseException) -> tuple[str, str]:
    """Return what an error of the client means, and the next step."""
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    log_in = "log in with `hf auth login`, or set HF_TOKEN, with a token that may do this"
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"
    if "GatedRepoError" in names:
        return "access to it must be asked for", "ask for access on its page on the Hub"
    if status == 401 and "RepositoryNotFoundError" not in names:
        return "the Hub does not accept the token (401)", log_in
    if "RepositoryNotFoundError" in names:
        return "there is no such repository, or it is private", f"check its name, or {log_in}"
    if "RevisionNotFoundError" in names:
        return "it has no such revision", "give a branch, a tag or a commit that exists"
    if "RemoteEntryNotFoundError" in names:
        return "it has no such file", "look at its page on the Hub"
    if status == 403:
        return "permission denied (403)", log_in
    if status in (409, 412):
        return "somebody else changed it meanwhile", "run the command again"
    if names & {"ConnectError", "ConnectTimeout"}:
        return "the Hub cannot be reached", "check the network connection"
    if status in _PASSING:
        return f"the Hub answers {status} again and again", "try again later"
    return said, "check its name, whether you are logged in to the Hub, and the network"
