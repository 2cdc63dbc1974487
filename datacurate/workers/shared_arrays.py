"""Arrays that several processes read: one copy in memory for all of them."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from datacurate.errors import TrainingError

_ALIGNMENT = 64  # bytes, for aligned vector loads


def share(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[BinaryIO, dict[str, Any]]:
    """Copy arrays into an anonymous file and return where each lies.

    The system frees the file when the last process that holds it exits, for whatever reason.

    Returns
    -------
    file : binary file
        A child process inherits its descriptor.
    layout : dict
        JSON values for `attach`.

    Raises
    ------
    TrainingError
        If there is not enough memory for the copy.
    """
    layout: dict[str, Any] = {}
    file = anonymous_file()
    try:
        for name, given in arrays.items():
            array = np.ascontiguousarray(given)
            offset = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            file.write(array.data)
            layout[name] = {"dtype": array.dtype.str, "shape": array.shape, "offset": offset}
        # The file must reach an empty array at its end.
        file.truncate()
        file.flush()
    except OSError as error:
        file.close()
        raise TrainingError(
            f"the images could not be shared between processes: {error.strerror or error}",
            hint="leave out --parallel, or free some memory",
        ) from error
    return file, layout


def attach(descriptor: int, layout: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `share` stored, memory-mapped without a copy.

    Parameters
    ----------
    descriptor : int
        Inherited descriptor of the file.
    layout : mapping
    """
    with os.fdopen(descriptor, "rb") as file:
        # Copy on write, because torch only takes writable arrays. Nothing writes to them.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return {
        name: np.ndarray(
            tuple(place["shape"]), place["dtype"], buffer=mapped, offset=place["offset"]
        )
        for name, place in layout.items()
    }


def anonymous_file() -> BinaryIO:
    """Return an empty file without a name: only its descriptor leads to it."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("datacurate"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
