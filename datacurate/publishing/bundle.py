"""What is published: the rank file and everything that goes beside it, in one folder."""

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
from datacurate.publishing.agreeing import PublishedRanks, agreed, agreement_of, comparable
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
        Every file's path in the folder.
    content_sha256 : str
        Of the ranks.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    content_sha256: str

    @property
    def file(self) -> str:
        """The rank file's path in the folder."""
        return self.name + rankfile.SUFFIX


def checked(path: Path) -> tuple[str, RankFile]:
    """Return the name and the content of a rank file of which everything holds.

    Raises
    ------
    UsageError
        If the file's name is not ``NAME.ranks.h5`` with a name that can be fetched by.
    FileError
        If it cannot be read, or something in it does not hold.
    """
    if not path.name.endswith(rankfile.SUFFIX):
        raise UsageError(
            f"{path} is not called NAME{rankfile.SUFFIX}",
            hint="publish a rank file, under the name it shall be fetched by",
        )
    name = check_name(path.name.removesuffix(rankfile.SUFFIX))
    for item in check(path):
        if not item.ok:
            raise FileError(
                f"{path} does not hold: {item.name}",
                got=item.detail,
                hint=f"datacurate show --check {path}",
            )
    return name, rankfile.read(path)


def make(
    path: Path,
    repository: str,
    folder: Path,
    *,
    licence: str | None = None,
    tell: Notify | None = None,
) -> Bundle:
    """Write a rank file's bundle into an empty folder, after checking the rank file.

    Parameters
    ----------
    path : Path
        ``NAME.ranks.h5``; ``NAME.history.jsonl`` beside it is taken along.
    repository : str
        ``owner/name``, for the addresses in the bundle.
    folder : Path
        Empty; it exists.
    licence : str, optional
        An identifier of the Hub's, such as ``"cc-by-4.0"``.
    tell : callable, optional
        Called with lines for people.

    Raises
    ------
    UsageError, FileError
        As for `checked`.
    OutputError
        If the folder cannot be written.
    """
    name, ranks = checked(path)
    files = [name + rankfile.SUFFIX]
    shutil.copyfile(path, folder / files[0])
    history = rankfile.history_path(path)
    if history.is_file():
        files.append(history.name)
        shutil.copyfile(history, folder / history.name)
    other = comparable(ranks, tell or (lambda _: None))
    published = other if isinstance(other, PublishedRanks) else None
    pictures = pictures_of(ranks, published, folder)
    files += pictures
    stated = licence or ranks.provenance.source.get("licence")
    known_licence = str(stated).lower() if stated else None
    text = card(
        ranks,
        repository,
        name,
        pictures=pictures,
        agreement=agreement_of(ranks, published, other if isinstance(other, str) else ""),
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


def write(
    path: Path,
    repository: str,
    folder: Path,
    *,
    licence: str | None = None,
    force: bool = False,
    tell: Notify | None = None,
) -> Bundle:
    """Write a bundle to a folder that appears when it is whole.

    Parameters
    ----------
    path, repository, licence, tell
        As for `make`.
    folder : Path
        Its parent exists.
    force : bool
        Whether an earlier bundle is replaced.

    Raises
    ------
    OutputError
        If the folder exists and `force` is false, or cannot be written.
    UsageError, FileError
        As for `checked`.
    """
    with atomic_directory(folder, SUMS, force) as temporary:
        made = make(path, repository, temporary, licence=licence, tell=tell)
    return dataclasses.replace(made, folder=folder)


def pictures_of(ranks: RankFile, published: PublishedRanks | None, folder: Path) -> dict[str, str]:
    """Draw ranks, and their agreement with published ones, into a folder of a bundle.

    Returns
    -------
    dict of str to str
        Path in the bundle, and caption, of each picture.
    """
    (folder / PICTURES).mkdir()
    drawn = draw(ranks, folder / PICTURES)
    if published is not None:
        found = agreed(ranks, published)
        drawn |= draw_agreement(
            ranks, published.ranks, published.name, found.classes, folder / PICTURES
        )
    return {f"{PICTURES}/{file}": caption for file, caption in drawn.items()}


def write_sums(folder: Path, files: Iterable[str]) -> None:
    """Write the hashes of a bundle's files, as ``sha256sum --check`` reads them."""
    sums = "".join(f"{sha256_file(folder / file)}  {file}\n" for file in sorted(files))
    write_text(folder / SUMS, sums)
