"""A file for HDF5 that defers write errors until HDF5 has closed the file.

HDF5 does not survive a full disk: closing the file fails, and freeing the open objects ends the
process. So this file remembers the first error, accepts all further writes without writing them,
and raises after HDF5 has closed. Writing into memory first would also work, but would need memory
for the whole file once more, which is what limits data sets of 10⁷ examples.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def deferred_error_file(path: Path) -> Iterator[DeferredErrorFile]:
    """Yield an empty file for the file-like driver of h5py; raise its first error at the end.

    Raises
    ------
    OSError
        If the file cannot be opened, or if a write failed.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        stream = DeferredErrorFile(handle)
        yield stream
        if stream.failure is not None:
            raise stream.failure
    finally:
        os.close(handle)


class DeferredErrorFile:
    """The methods that h5py needs of a file object, over a file descriptor.

    Attributes
    ----------
    failure : OSError or None
        The first error. Nothing is written after it.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._position = 0
        self._size = 0
        self.failure: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def write(self, data: bytes | memoryview) -> int:
        """Write all of the data, or remember the error."""
        rest = memoryview(data).cast("B")
        length, position = len(rest), self._position
        try:
            while len(rest) and self.failure is None:
                written = os.pwrite(self._handle, rest, position)
                rest, position = rest[written:], position + written
        except OSError as error:
            self.failure = error
        self._position += length
        self._size = max(self._size, self._position)
        return length

    def read(self, size: int) -> bytes:
        """Return `size` bytes; zeros where nothing was written."""
        data = b""
        while len(data) < size:
            more = os.pread(self._handle, size - len(data), self._position + len(data))
            if not more:
                break
            data += more
        self._position += size
        return data.ljust(size, b"\0")

    def truncate(self, size: int) -> int:
        """Set the length of the file, or remember the error."""
        try:
            os.ftruncate(self._handle, size)
        except OSError as error:
            self.failure = self.failure or error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing, because writes are not buffered."""
