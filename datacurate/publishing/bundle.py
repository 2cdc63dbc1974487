"""Write the folder that is published: a rank file and the files beside it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from datacurate.errors import FileError, UsageError
from datacurate.fingerprints import sha256_file
from datacurate.formats import rankfile
from datacurate.formats.checking import check
from datacurate.formats.rankfile import RankFile
from datacurate.notices import Notify
from datacurate.outputs import atomic_directory, write_text
from datacurate.publishing.agreement import (
    PublishedRanks,
    compare_with_published,
    describe_agreement,
    find_comparable,
)
from datacurate.publishing.card import CITATION, card, title
from datacurate.publishing.croissant import croissant
from datacurate.publishing.fetching import SUMS
from datacurate.remote.registry import check_name
from datacurate.reports.figures import draw, draw_agreement

PICTURES = "pictures"


@dataclass(frozen=True)
class Bundle:
    """A folder that is ready to be published.

    Attributes
    ----------
    name : str
        The rank file is ``NAME.ranks.h5``.
    folder : Path
    files : tuple of str
        Paths of all files in the folder.
    content_sha256 : str
        Content hash of the ranks.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    content_sha256: str

    @property
    def file(self) -> str:
        """The rank file's path in the folder."""
        return self.name + rankfile.SUFFIX


def read_checked(path: Path) -> tuple[str, RankFile]:
    """Check a rank file completely; return its name and its content.

    Raises
    ------
    UsageError
        If the file name is not ``NAME.ranks.h5`` with a valid name.
    FileError
        If the file cannot be read or a check fails.
    """
    if not path.name.endswith(rankfile.SUFFIX):
        raise UsageError(
            f"{path} is not called NAME{rankfile.SUFFIX}",
            hint="rename the rank file; NAME is the name to fetch it by",
        )
    name = check_name(path.name.removesuffix(rankfile.SUFFIX))
    for item in check(path):
        if not item.ok:
            raise FileError(
                f"{path} is inconsistent: {item.name}",
                got=item.detail,
                hint=f"datacurate show --check {path}",
            )
    return name, rankfile.read(path)


def build_bundle(
    path: Path,
    repository: str,
    folder: Path,
    *,
    licence: str | None = None,
    tell: Notify | None = None,
) -> Bundle:
    """Check a rank file and write its bundle into an empty folder.

    Parameters
    ----------
    path : Path
        ``NAME.ranks.h5``; ``NAME.history.jsonl`` beside it is copied too.
    repository : str
        ``owner/name``, used in the addresses of the bundle.
    folder : Path
        An empty folder that exists.
    licence : str, optional
        Licence identifier of the Hub, such as ``"cc-by-4.0"``.
    tell : callable, optional
        Called with messages about the work.

    Raises
    ------
    UsageError, FileError
        As for `read_checked`.
    OutputError
        If the folder cannot be written.
    """
    name, ranks = read_checked(path)
    files = [name + rankfile.SUFFIX]
    shutil.copyfile(path, folder / files[0])
    history = rankfile.history_path(path)
    if history.is_file():
        files.append(history.name)
        shutil.copyfile(history, folder / history.name)
    other = find_comparable(ranks, tell or (lambda _: None))
    published = other if isinstance(other, PublishedRanks) else None
    pictures = draw_pictures(ranks, published, folder)
    files += pictures
    licence_name = licence or ranks.provenance.source.get("licence")
    known_licence = str(licence_name).lower() if licence_name else None
    text = card(
        ranks,
        repository,
        name,
        pictures=pictures,
        agreement=describe_agreement(ranks, published, other if isinstance(other, str) else ""),
        licence=known_licence,
    )
    write_text(folder / "README.md", text)
    metadata = croissant(
        ranks,
        repository,
        folder,
        [*files, "README.md"],
        name=name,
        description=f"{title(ranks)}: how much each example hurts adversarial robustness.",
        citation=CITATION,
        licence=known_licence,
    )
    write_text(folder / "croissant.json", json.dumps(metadata, indent=2, sort_keys=True) + "\n")
    files += ["README.md", "croissant.json"]
    write_sums(folder, files)
    return Bundle(name, folder, (*files, SUMS), ranks.content_sha256)


def write_bundle(
    path: Path,
    repository: str,
    folder: Path,
    *,
    licence: str | None = None,
    force: bool = False,
    tell: Notify | None = None,
) -> Bundle:
    """Write a bundle to a folder, which appears only when it is complete.

    Parameters
    ----------
    path, repository
        As for `build_bundle`.
    folder : Path
        The folder to create; its parent exists.
    licence
        As for `build_bundle`.
    force : bool
        Whether to replace an earlier bundle.
    tell
        As for `build_bundle`.

    Raises
    ------
    OutputError
        If the folder exists and `force` is false, or cannot be written.
    UsageError, FileError
        As for `read_checked`.
    """
    with atomic_directory(folder, SUMS, force) as temporary:
        bundle = build_bundle(path, repository, temporary, licence=licence, tell=tell)
    return dataclasses.replace(bundle, folder=folder)


def draw_pictures(
    ranks: RankFile, published: PublishedRanks | None, folder: Path
) -> dict[str, str]:
    """Draw ranks, and their agreement with published ranks, into the folder of a bundle.

    Returns
    -------
    dict of str to str
        Caption of each picture by its path in the bundle.
    """
    (folder / PICTURES).mkdir()
    captions = draw(ranks, folder / PICTURES)
    if published is not None:
        result = compare_with_published(ranks, published)
        captions |= draw_agreement(
            ranks, published.ranks, published.name, result.classes, folder / PICTURES
        )
    return {f"{PICTURES}/{file}": caption for file, caption in captions.items()}


def write_sums(folder: Path, files: Iterable[str]) -> None:
    """Write the hashes of the files of a bundle in the format of ``sha256sum``."""
    sums = "".join(f"{sha256_file(folder / file)}  {file}\n" for file in sorted(files))
    write_text(folder / SUMS, sums)
