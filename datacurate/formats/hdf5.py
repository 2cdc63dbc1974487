"""HDF5 as far as a rank file uses it: plain columns and text attributes at the root, no more.

HDF5 can make a file reach outside itself (external links, external storage, virtual data sets),
load code (filter plugins) and promise far more than it holds (chunks that were never written, or
that unpack to a thousand times their size). `opened` looks at all of that before it reads
anything, and refuses it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from datacurate.errors import FileError
from datacurate.formats.deferred_errors import deferred_error_file

ATTRIBUTE_BYTES = 60_000  # longer texts are split; HDF5 keeps no attribute above 64 KiB by default
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_COLUMNS = 1024
_MOST_ATTRIBUTES = 4096
_MOST_CHUNK_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 20
# Deflate reaches 1032 : 1 at the most; columns that promise more were never written.
_MOST_RATIO = 1100
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_DTYPES = [np.dtype(f"<{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)] + [
    np.dtype("<f4"),
    np.dtype("<f8"),
]


class Opened:
    """A rank file that was looked at and found harmless, open for reading.

    Attributes
    ----------
    path : Path
    attributes : dict of str to str
        Every root attribute; pieces of split texts are joined.
    """

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._datasets = _plain_datasets(path, file)
        self.attributes = _text_attributes(path, file)

    @property
    def columns(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
        """The type and shape of each column."""
        return {name: (data.dtype, data.shape) for name, data in self._datasets.items()}

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one column's values.

        Raises
        ------
        FileError
            If they are damaged.
        """
        with _damage_named(self.path):
            values: npt.NDArray[Any] = self._datasets[name][...]
        return values


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file for reading if it holds nothing but plain columns and text attributes.

    Raises
    ------
    FileError
        If there is no such file, it is not HDF5, is damaged, or holds anything else.
    """
    if not path.is_file():
        raise FileError(f"there is no file {path}", hint="datacurate show FILE.ranks.h5")
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    if start != _SIGNATURE:
        raise FileError(
            f"{path} is not a rank file",
            expected="an HDF5 file written by datacurate",
            got="an empty file" if not start else f"a file that starts with {start!r}",
            hint="make ranks with `datacurate profile`",
        )
    with contextlib.ExitStack() as stack:
        with _damage_named(path):
            file = stack.enter_context(h5py.File(path, "r", locking=False))
            found = Opened(path, file)
        yield found


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises for damage, any of these by the structure that is hit, into ours."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(
            f"{path} is damaged or incomplete: {reason}",
            hint="get the file again, or make it again with `datacurate profile`",
        ) from error


def write(
    path: Path,
    attributes: Mapping[str, str],
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    packed: bool = False,
) -> None:
    """Write a new file with these text attributes and columns.

    Equal input gives equal bytes with the same HDF5 and zlib. Nothing is appended later, because a
    writer that is killed during an append leaves a file that does not open.

    Parameters
    ----------
    path : Path
        Overwritten. The caller makes the replacement atomic.
    attributes : mapping of str to str
    columns : mapping of str to ndarray
        All with the same first dimension.
    packed : bool
        Whether a small file matters more than a fast write.

    Raises
    ------
    OSError
        If the system refuses, for example because the disk is full.
    """
    with deferred_error_file(path) as stream, h5py.File(stream, "w") as file:
        for name, text in attributes.items():
            data = text.encode()
            pieces = [data[i : i + ATTRIBUTE_BYTES] for i in range(0, len(data), ATTRIBUTE_BYTES)]
            for number, piece in enumerate(pieces or [b""]):
                dtype = h5py.string_dtype("utf-8", max(len(piece), 1))
                file.attrs.create(_piece_name(name, number), np.bytes_(piece), dtype=dtype)
        for name, values in columns.items():
            little = values.dtype.newbyteorder("<")
            file.create_dataset(name, data=values, dtype=little, **_storage(values, packed))


def _storage(values: npt.NDArray[Any], packed: bool) -> dict[str, Any]:
    """Return how a column is stored: signed integers by shuffle and the fastest gzip, all else raw.

    Labels, positions and counts shrink to between an eighth and a third in little time. Hashes do
    not shrink at all, probabilities and packed records by less than a third at a fiftieth of the
    speed, and what a rank file holds besides is small beside these. Packed, all but the hashes is
    stored by shuffle and the slowest gzip.
    """
    hashes = values.dtype == np.uint64
    if values.size == 0 or hashes or not (packed or values.dtype.kind == "i"):
        return {}
    rows = min(max(_CHUNK_BYTES // (values.nbytes // len(values)), 1), len(values))
    chunks = (rows, *values.shape[1:])
    level = 9 if packed else 1
    return {"chunks": chunks, "shuffle": True, "compression": "gzip", "compression_opts": level}


def _plain_datasets(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the root's data sets by name, or refuse the file; reads no data."""
    root = file.id
    if root.get_num_objs() > _MOST_COLUMNS:
        raise _refused(path, f"{root.get_num_objs():,} objects", f"at most {_MOST_COLUMNS} columns")
    found: dict[str, h5py.Dataset] = {}
    for raw in root:
        name = raw.decode("utf-8", "replace")
        if root.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
            raise _refused(path, f"a soft or external link {name!r}", "columns only")
        if h5py.h5o.get_info(root, raw).type != h5py.h5o.TYPE_DATASET:
            raise _refused(path, f"{name!r}, which is no data set", "columns only")
        data = h5py.h5d.open(root, raw)
        _refuse_unless_plain(path, name, data)
        found[name] = h5py.Dataset(data)
    lengths = {data.shape[0] for data in found.values()}
    if len(lengths) > 1:
        raise _refused(path, f"columns of {sorted(lengths)} rows", "columns of one length")
    # Columns that share bytes, or lie about theirs, would add up to more than there is.
    stored = sum(data.id.get_storage_size() for data in found.values())
    size = path.stat().st_size
    if stored > size:
        raise _refused(path, f"columns of {stored:,} stored bytes", f"at most {size:,}")
    return found


def _refuse_unless_plain(path: Path, name: str, data: Any) -> None:
    """Raise unless a data set is a plain array of numbers stored in this file."""
    kind, space, plan = data.get_type(), data.get_space(), data.get_create_plist()
    if not any(kind.equal(h5py.h5t.py_create(dtype)) for dtype in _DTYPES):
        raise _refused(path, f"column {name!r} of another type", "little-endian numbers")
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise _refused(path, f"column {name!r} stored outside the file", "columns in the file")
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        raise _refused(path, f"column {name!r} with filters {filters}", "gzip and shuffle")
    shape = space.shape if space.get_simple_extent_type() == h5py.h5s.SIMPLE else ()
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise _refused(path, f"column {name!r} of shape {shape}", "1 to 3 dimensions, none empty")
    itemsize = kind.get_size()
    if layout == h5py.h5d.CHUNKED:
        chunk = itemsize * int(np.prod(plan.get_chunk(), dtype=object))
        if chunk > _MOST_CHUNK_BYTES:
            raise _refused(path, f"column {name!r} in chunks of {chunk:,} bytes", "16 MiB or less")
    size = itemsize * int(np.prod(shape, dtype=object))
    most = _MOST_RATIO * data.get_storage_size()
    if size > most:
        raise _refused(path, f"column {name!r} of {size:,} bytes", f"at most {most:,} by its data")


def _text_attributes(path: Path, file: h5py.File) -> dict[str, str]:
    """Return the root's attributes, joined where they were split, or refuse the file."""
    number = h5py.h5a.get_num_attrs(file.id)
    if number > _MOST_ATTRIBUTES:
        raise _refused(path, f"{number:,} attributes", f"at most {_MOST_ATTRIBUTES:,}")
    pieces: dict[str, bytes] = {}
    for index in range(number):
        attribute = h5py.h5a.open(file.id, index=index)
        name = attribute.name.decode("utf-8", "replace")
        kind = attribute.get_type()
        scalar = attribute.get_space().get_simple_extent_type() == h5py.h5s.SCALAR
        if not scalar or not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str():
            raise _refused(path, f"attribute {name!r} of another type", "fixed-length texts")
        if kind.get_size() > 1 << 16:
            raise _refused(path, f"attribute {name!r} of {kind.get_size():,} bytes", "64 KiB")
        buffer = np.empty((), dtype=f"S{kind.get_size()}")
        attribute.read(buffer, mtype=kind)
        pieces[name] = bytes(buffer[()])
    return _joined(path, pieces)


def _joined(path: Path, pieces: Mapping[str, bytes]) -> dict[str, str]:
    """Return texts whose pieces are called NAME, NAME.1, NAME.2 and so on."""
    joined: dict[str, str] = {}
    used: set[str] = set()
    for name in pieces:
        if "." in name:
            continue
        data = b""
        number = 0
        while (piece := _piece_name(name, number)) in pieces:
            data += pieces[piece]
            used.add(piece)
            number += 1
        try:
            joined[name] = data.decode()
        except UnicodeDecodeError as error:
            raise _refused(path, f"attribute {name!r} that is not text", "UTF-8") from error
    if stray := sorted(set(pieces) - used):
        raise _refused(path, f"attribute {stray[0]!r}, a piece without its start", "whole texts")
    return joined


def _piece_name(name: str, number: int) -> str:
    return f"{name}.{number}" if number else name


def _refused(path: Path, got: str, expected: str) -> FileError:
    return FileError(
        f"{path} is not a rank file that can be trusted",
        expected=expected,
        got=got,
        hint="get the file again from its source",
    )
