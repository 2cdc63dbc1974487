"""Read the official archives of CIFAR-10 and CIFAR-100: packed or extracted, Python or binary."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.data.known import KNOWN
from datacurate.data.layouts import Layout, Split
from datacurate.errors import DataError
from datacurate.formats.pickles import load_arrays

_PIXELS = 3 * 32 * 32
_LARGEST_MEMBER = 1 << 29  # bytes; the largest official member has 155 MB


@dataclass(frozen=True)
class _Version:
    """One of the four official archives; its files are in one folder."""

    kind: str
    known_as: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int  # label bytes before the pixels of a binary record, fine label last; 0: pickle


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_BINARY_BATCHES = tuple(f"{batch}.bin" for batch in _BATCHES)
_VERSIONS = (
    _Version(
        "cifar-python",
        "cifar10",
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        _BATCHES,
        ("test_batch",),
        0,
    ),
    _Version(
        "cifar-python",
        "cifar100",
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        ("train",),
        ("test",),
        0,
    ),
    _Version(
        "cifar-binary",
        "cifar10",
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        _BINARY_BATCHES,
        ("test_batch.bin",),
        1,
    ),
    _Version(
        "cifar-binary",
        "cifar100",
        "cifar-100-binary",
        "cifar-100-binary.tar.gz",
        ("train.bin",),
        ("test.bin",),
        2,
    ),
)


def recognise_cifar(path: Path) -> list[Layout]:
    """Return the layouts of the official archives at a path, extracted ones first.

    Parameters
    ----------
    path : Path
        An archive, its extracted folder, or a directory that contains one of them.

    Returns
    -------
    list of Layout
        Empty if there is no official archive.

    Raises
    ------
    DataError
        If an archive cannot be read.
    """
    if path.is_file():
        if not path.name.endswith((".tar.gz", ".tgz", ".tar")):
            return []
        folder = _first_folder(path)
        return [_layout(version, path) for version in _VERSIONS if version.folder == folder]
    layouts = []
    for version in _VERSIONS:
        for place in (path, path / version.folder, path / version.archive):
            exists = place.is_file() or (place / version.train[0]).is_file()
            if exists and (place != path or _is_extracted(version, path)):
                layouts.append(_layout(version, place))
                break
    return layouts


def _is_extracted(version: _Version, folder: Path) -> bool:
    """Return whether a folder of any name is an extracted archive of this version."""
    # A file called "train" alone proves nothing.
    return (folder / version.test[0]).is_file()


def _layout(version: _Version, place: Path) -> Layout:
    return Layout(
        kind=version.kind,
        location=place,
        train=lambda: _read(version, place, version.train),
        test=lambda: _read(version, place, version.test),
        class_names=KNOWN[version.known_as].class_names,
        known_as=version.known_as,
    )


def _read(version: _Version, place: Path, names: tuple[str, ...]) -> Split:
    files = _members(place, version, names) if place.is_file() else _files(place, names)
    parts = []
    for name in names:
        title = f"{place / name}"
        if version.label_bytes:
            parts.append(_parse_records(files[name], version.label_bytes, title))
        else:
            parts.append(_parse_pickle(files[name], title))
    planes = np.concatenate([pixels for pixels, _ in parts]).reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return Split(images, np.concatenate([labels for _, labels in parts]))


_Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def _parse_pickle(data: bytes, title: str) -> _Part:
    content = load_arrays(data, title)
    labels = content.get("fine_labels", content.get("labels"))
    pixels = content.get("data")
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != _PIXELS
    ):
        raise DataError(
            f"{title} does not hold CIFAR images",
            expected=f"data: uint8 of shape (N, {_PIXELS})",
            got=_describe_value(pixels),
        )
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = np.array(labels, dtype=np.int64)
    if not isinstance(labels, np.ndarray) or labels.shape != (len(pixels),):
        raise DataError(
            f"{title} does not have one label for each image",
            expected=f"labels or fine_labels: {len(pixels):,} integers",
            got=_describe_value(labels),
        )
    return pixels, labels.astype(np.int64)


def _parse_records(data: bytes, label_bytes: int, title: str) -> _Part:
    width = label_bytes + _PIXELS
    if len(data) % width:
        raise DataError(
            f"{title} is truncated",
            expected=f"a multiple of {width:,} bytes",
            got=f"{len(data):,} bytes",
            hint="download the data set again",
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, width)
    return records[:, label_bytes:], records[:, label_bytes - 1].astype(np.int64)


def _describe_value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{len(value):,} values" if isinstance(value, list) else type(value).__name__


def _files(folder: Path, names: Iterable[str]) -> Mapping[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise DataError(
            f"the CIFAR folder {folder} is incomplete: {error.filename} cannot be read "
            f"({error.strerror})",
            hint="extract the official archive again",
        ) from error


def _first_folder(archive: Path) -> str:
    """Return the top folder of the first member of an archive."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.next()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise _damage_error(archive, error) from error
    return member.name.strip("./").partition("/")[0] if member else ""


def _members(archive: Path, version: _Version, names: tuple[str, ...]) -> Mapping[str, bytes]:
    """Read files from an archive in one pass; nothing is extracted to disk."""
    contents: dict[str, bytes] = {}
    wanted = {f"{version.folder}/{name}": name for name in names}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = wanted.get(member.name.removeprefix("./"))
                if name is None or not member.isfile():
                    continue
                if member.size > _LARGEST_MEMBER:
                    raise DataError(f"{archive} holds {name} with {member.size:,} bytes")
                stream = tar.extractfile(member)
                contents[name] = stream.read() if stream else b""
                if len(contents) == len(names):
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise _damage_error(archive, error) from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise DataError(
            f"{archive} is incomplete: {version.folder}/{missing[0]} is missing",
            hint="download the archive again",
        )
    return contents


def _damage_error(archive: Path, error: Exception) -> DataError:
    return DataError(
        f"the archive {archive} cannot be read: {str(error) or type(error).__name__}",
        hint="download it again",
    )
