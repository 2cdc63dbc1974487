"""Files below a folder or inside a zip by relative name: one view for layouts of folders."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datacurate.errors import DataError

_LARGEST_FILE = 1 << 28  # bytes inside a zip; far above any image worth training on
_STRAYS = ("__MACOSX",)  # what other systems leave in archives; hidden names go in any case


@dataclass(frozen=True)
class FileTree:
    """Some files by relative name.

    Attributes
    ----------
    location : Path
        The folder or the zip.
    names : tuple of str
        Names of visible files, parts separated by ``/``, in no particular order.
    read : callable
        From a name to the file's bytes.
    inside : str
        The folder of the location that names are relative to; empty for the location itself.
    """

    location: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]
    inside: str = ""

    def below(self, folder: str) -> FileTree:
        """Return the part of the tree below a folder, such as ``"train"``."""
        start = f"{folder}/"
        names = tuple(name.removeprefix(start) for name in self.names if name.startswith(start))
        inside = f"{self.inside}/{folder}" if self.inside else folder
        return FileTree(self.location, names, lambda name: self.read(start + name), inside)

    def title(self, name: str) -> str:
        """Return what an error calls a file."""
        return str(self.location / self.inside / name)


def folder_tree(folder: Path) -> FileTree:
    """Return the visible files below a folder; links are followed, but never into a circle."""
    names: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = [name for name in folders if _is_visible(name) and not _circles(here / name)]
        relative = here.relative_to(folder).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        names += [prefix + name for name in files if _is_visible(name)]

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read: {error.strerror}") from error

    return FileTree(folder, tuple(names), read)


def zip_tree(path: Path) -> FileTree:
    """Return the visible files inside a zip, which are read from it without extracting it.

    Raises
    ------
    DataError
        If it is not a zip, or is damaged.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"the archive {path} cannot be read: {error}", hint="download it again"
        ) from error
    sizes = {
        info.filename: info.file_size
        for info in archive.infolist()
        if not info.is_dir() and all(_is_visible(part) for part in info.filename.split("/"))
    }

    def read(name: str) -> bytes:
        if sizes[name] > _LARGEST_FILE:
            raise DataError(f"{name} in {path} is too large", got=f"{sizes[name]:,} bytes")
        try:
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            # RuntimeError is what zipfile raises for an encrypted member.
            raise DataError(f"{name} in {path} cannot be read: {error}") from error

    return FileTree(path, tuple(sizes), read)


def image_order(name: str) -> tuple[str, str]:
    """Return the key that sorts file names as torchvision does: folder as text, then file."""
    path = PurePosixPath(name)
    return str(path.parent), path.name


def _is_visible(part: str) -> bool:
    return bool(part) and not part.startswith(".") and part not in _STRAYS


def _circles(folder: Path) -> bool:
    """Return whether a folder is a link to one that it lies in."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
