"""Publish ranks: checks first, then one commit to a data set repository on the Hub."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from datacurate.errors import PublishError
from datacurate.notices import Notify
from datacurate.publishing.bundle import make
from datacurate.remote import hub
from datacurate.remote.registry import check_repository


@dataclass(frozen=True)
class Publication:
    """What was published, and how to fetch exactly that.

    Attributes
    ----------
    name, repository, commit : str
    files : tuple of str
    content_sha256 : str
    """

    name: str
    repository: str
    commit: str
    files: tuple[str, ...]
    content_sha256: str

    @property
    def fetched_by(self) -> str:
        """The command that fetches exactly these ranks."""
        return f"datacurate fetch {self.name} --repo {self.repository} --revision {self.commit}"


def publish(
    path: Path,
    repository: str,
    *,
    private: bool = False,
    replace: bool = False,
    licence: str | None = None,
    tell: Notify | None = None,
) -> Publication:
    """Publish a rank file with its card, history, pictures, metadata and hashes.

    The token is the one that the Hub's client finds: ``HF_TOKEN``, or that of ``hf auth login``.

    Parameters
    ----------
    path : Path
        ``NAME.ranks.h5``.
    repository : str
        ``owner/name``; created if need be.
    private : bool
        Whether a repository that is created is private.
    replace : bool
        Whether other ranks may be there under the same name. One name should never mean two
        payloads, so the better way is another name.
    licence : str, optional
        An identifier of the Hub's, such as ``"cc-by-4.0"``; by default what the ranks' own source
        states, if anything.
    tell : callable, optional
        Called with lines for people.

    Raises
    ------
    UsageError, FileError
        If the ranks do not hold, or a name is none; nothing was sent then.
    PublishError
        If other ranks are there under this name, it is not allowed, or the Hub fails; the
        repository holds what it held before.
    FetchError
        If the repository cannot be looked at.
    """
    say = tell or (lambda _: None)
    check_repository(repository)
    with tempfile.TemporaryDirectory(prefix="datacurate-") as temporary:
        bundle = make(path, repository, Path(temporary), licence=licence, tell=say)
        hub.create_repository(repository, private=private)
        head = hub.head(repository)
        same = None
        if bundle.file in head.files:
            local = bundle.folder / bundle.file
            same = hub.holds_same(repository, bundle.file, head.commit, local)
        if same is False and not replace:
            raise PublishError(
                f"{repository} holds other ranks under the name {bundle.name}",
                hint="publish under another name, or pass --replace if those shall go",
            )
        say(f"publishing {len(bundle.files)} files to {repository}")
        commit = hub.commit_folder(
            repository,
            bundle.folder,
            bundle.files,
            message=f"{bundle.name}: ranks {bundle.content_sha256[:12]}",
            parent=head.commit,
        )
    return Publication(bundle.name, repository, commit, bundle.files, bundle.content_sha256)
