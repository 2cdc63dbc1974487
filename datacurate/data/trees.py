"""One view of the files below a folder or inside a zip, by relative name."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datacurate.errors import DataError

_LARGEST_FILE = 1 << 28  # bytes of one file in a zip; far above any training image
_IGNORED = ("__MACOSX",)  # folders that some systems add to archives


@dataclass(frozen=True)
class FileTree:
    """Files by relative name.

    Attributes
    ----------
    location : Path
        The folder or the zip.
    names : tuple of str
        Names of files that are not hidden, parts separated by ``/``, in no particular order.
    read : callable
        Returns the bytes of a file, given its name.
    inside : str
        The folder in `location` that names are relative to; empty for `location` itself.
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
        """Return the full path of a file, for errors."""
        return str(self.location / self.inside / name)


def folder_tree(folder: Path) -> FileTree:
    """Return the files below a folder that are not hidden; follow links, but not in a cycle."""
    names: list[str] = []
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        folders[:] = [
            name for name in folders if _is_visible(name) and not _is_cyclic_link(here / name)
        ]
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
    """Return the files inside a zip that are not hidden; reading extracts nothing to disk.

    Raises
    ------
    DataError
        If the file is not a zip archive or is damaged.
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
            # zipfile raises RuntimeError for an encrypted member.
            raise DataError(f"{name} in {path} cannot be read: {error}") from error

    return FileTree(path, tuple(sizes), read)


def image_order(name: str) -> tuple[str, str]:
    """Return the key that sorts file names as torchvision does: by folder, then by file."""
    path = PurePosixPath(name)
    return str(path.parent), path.name


def _is_visible(part: str) -> bool:
    return bool(part) and not part.startswith(".") and part not in _IGNORED


def _is_cyclic_link(folder: Path) -> bool:
    """Return whether a folder is a link to one of its parents."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())
