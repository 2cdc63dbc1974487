"""Access data sets on the Hugging Face Hub; the only module that calls its client.

The client does the transfers and manages the cache and the token. This module translates its
errors, retries temporary failures, and prints nothing.
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

_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_WAITS = (1.0, 2.0, 4.0)  # seconds between attempts, in addition to the client's own retries

T = TypeVar("T")


@dataclass(frozen=True)
class Head:
    """The newest commit of a repository.

    Attributes
    ----------
    commit : str
        40 hex digits.
    files : tuple of str
        Paths in the repository; chosen by its owner and not checked.
    """

    commit: str
    files: tuple[str, ...]


def offline() -> bool:
    """Return whether the user has set the Hub's client to offline mode."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def dataset_snapshot(
    repository: str, *, revision: str | None = None, folder: Path | None = None
) -> Path:
    """Download the Parquet files of a data set repository.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    revision : str, optional
        A branch, tag or commit; by default the default branch.
    folder : Path, optional
        Folder for the files. By default the Hub's cache, which also serves without a network.

    Returns
    -------
    Path
        The folder of the files.

    Raises
    ------
    FetchError
        If the repository or revision does not exist, or there is no access or no network.
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
    """Return the current commit of a revision of a data set repository, and its files.

    Raises
    ------
    UnreachableError
        If the Hub cannot be reached.
    FetchError
        If the repository or revision does not exist, or there is no access.
    """
    what = f"{repository} cannot be looked up on the Hub"
    with _errors(FetchError, what):
        info = _with_retries(lambda: _api().dataset_info(repository, revision=revision))
        if not info.sha:
            raise FetchError(f"{what}: it has no commit")
        return Head(info.sha, tuple(file.rfilename for file in info.siblings or ()))


def cached_file(repository: str, file: str, revision: str | None = None) -> Path | None:
    """Return the path of a repository's file in the Hub's cache, or None; use no network."""
    path = _client().try_to_load_from_cache(
        repository, file, repo_type="dataset", revision=revision
    )
    return Path(path) if isinstance(path, str) else None


def fetch_file(repository: str, file: str, revision: str, *, again: bool = False) -> Path:
    """Return the cached path of a file of a data set repository; download it if necessary.

    Parameters
    ----------
    repository, file : str
    revision : str
        A branch, tag or commit. The folder of the returned path has the name of the commit.
    again : bool
        Whether to download the file even if it is cached.

    Raises
    ------
    FetchError
        If the file cannot be downloaded.
    """
    with _errors(FetchError, f"{file} of {repository} could not be downloaded from the Hub"):
        place = _with_retries(
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
        If the Hub cannot answer.
    """
    with _errors(FetchError, f"{repository} cannot be looked up on the Hub"):
        infos = _with_retries(
            lambda: _api().get_paths_info(repository, file, repo_type="dataset", revision=commit)
        )
    for info in infos:
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
        If access is denied or the Hub cannot be reached.
    """
    with _errors(PublishError, f"the repository {repository} could not be created"):
        _with_retries(
            lambda: _api().create_repo(
                repository, repo_type="dataset", private=private or None, exist_ok=True
            )
        )


def commit_folder(
    repository: str, folder: Path, files: Sequence[str], *, message: str, parent: str
) -> str:
    """Add files to a data set repository in one commit; return the commit.

    Parameters
    ----------
    repository : str
    folder : Path
    files : sequence of str
        Paths in the folder, and also in the repository.
    message : str
    parent : str
        The expected newest commit. If there is a newer one, nothing is changed.

    Raises
    ------
    PublishError
        If anything fails; the repository is unchanged.
    """
    client = _client()
    with _errors(PublishError, f"{repository} could not be written"):
        # A retry cannot commit twice: after the first commit the parent has changed.
        info = _with_retries(
            lambda: _api().create_commit(
                repository,
                [client.CommitOperationAdd(file, folder / file) for file in files],
                repo_type="dataset",
                commit_message=message,
                parent_commit=parent,
            )
        )
    return str(info.oid)


def dataset_card(metadata: Mapping[str, Any], body: str) -> str:
    """Return the text of a data set card: the Hub's YAML between rules, then Markdown."""
    data = _client().DatasetCardData(**metadata)
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def _client() -> Any:
    import huggingface_hub  # slow to import
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    return huggingface_hub


def _api() -> Any:
    return _client().HfApi()


def _with_retries(work: Callable[[], T]) -> T:
    """Call a function; retry it after temporary failures."""
    for wait in _WAITS:
        try:
            return work()
        except Exception as error:
            if not _is_temporary(error):
                raise
            time.sleep(wait)
    return work()


def _is_temporary(error: BaseException) -> bool:
    causes = _error_chain(error)
    if status := next(filter(None, map(_status, causes)), None):
        return status in _TEMPORARY_STATUS
    return not any(map(_is_unreachable, causes)) and any(map(_is_interrupted, causes))


def _error_chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes: the client wraps the errors of its transport."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error, if it has one."""
    return getattr(getattr(error, "response", None), "status_code", None)


# The client has changed its transport before, so its errors are recognised by their names.


def _is_unreachable(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ProxyError"})


def _is_interrupted(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"TransportError", "ConnectionError", "Timeout", "TimeoutError"})


@contextlib.contextmanager
def _errors(kind: type[DatacurateError], what: str) -> Iterator[None]:
    """Turn every error of the client into a datacurate error with the next step."""
    try:
        yield
    except DatacurateError:
        raise
    except Exception as error:  # the errors of client and transport share no base class
        names = {kind.__name__ for cause in _error_chain(error) for kind in type(cause).__mro__}
        status = next(filter(None, map(_status, _error_chain(error))), None)
        reason, hint = _explain(names, status, error)
        if status is None and any(map(_is_unreachable, _error_chain(error))):
            unreachable = UnreachableError if kind is FetchError else kind
            raise unreachable(f"{what}: {reason}", hint=hint) from error
        raise kind(f"{what}: {reason}", hint=hint) from error


def _explain(names: set[str], status: int | None, error: BaseException) -> tuple[str, str]:
    """Return the reason of an error of the client, and the next step."""
    lines = str(error).strip().splitlines()
    message = lines[0] if lines else type(error).__name__
    log_in = "log in with `hf auth login`, or set HF_TOKEN, with a token that may do this"
    if "OfflineModeIsEnabled" in names:
        return "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"
    if "GatedRepoError" in names:
        return "access must be requested", "request access on its page on the Hub"
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
        return "it has changed in the meantime", "run the command again"
    if names & {"ConnectError", "ConnectTimeout"}:
        return "the Hub cannot be reached", "check the network connection"
    if status in _TEMPORARY_STATUS:
        return f"the Hub keeps answering {status}", "try again later"
    return message, "check its name, whether you are logged in to the Hub, and the network"
