"""Publish ranks: check them, then make one commit to a data set repository on the Hub."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from datacurate.errors import PublishError
from datacurate.notices import Notify
from datacurate.publishing.bundle import build_bundle
from datacurate.remote import hub
from datacurate.remote.registry import check_repository


@dataclass(frozen=True)
class Publication:
    """The published files and the commit that pins them.

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

    The Hub's client finds the token: ``HF_TOKEN``, or the one of ``hf auth login``.

    Parameters
    ----------
    path : Path
        ``NAME.ranks.h5``.
    repository : str
        ``owner/name``; created if it does not exist.
    private : bool
        Whether a new repository is private.
    replace : bool
        Whether to replace other ranks of the same name. Prefer a new name: one name should not
        mean two different files.
    licence : str, optional
        Licence identifier of the Hub, such as ``"cc-by-4.0"``. By default the licence that the
        source of the ranks states, if any.
    tell : callable, optional
        Called with messages about the work.

    Raises
    ------
    UsageError, FileError
        If a check of the ranks fails or a name is not valid; nothing was sent.
    PublishError
        If the name is taken by other ranks, access is denied, or the Hub fails; the repository is
        unchanged.
    FetchError
        If the repository cannot be read.
    """
    say = tell or (lambda _: None)
    check_repository(repository)
    with tempfile.TemporaryDirectory(prefix="datacurate-") as temporary:
        bundle = build_bundle(path, repository, Path(temporary), licence=licence, tell=say)
        hub.create_repository(repository, private=private)
        head = hub.head(repository)
        same = None
        if bundle.file in head.files:
            local = bundle.folder / bundle.file
            same = hub.holds_same(repository, bundle.file, head.commit, local)
        if same is False and not replace:
            raise PublishError(
                f"{repository} holds other ranks under the name {bundle.name}",
                hint="publish under another name, or replace them with --replace",
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
