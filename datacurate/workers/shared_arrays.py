"""Arrays in memory that several processes read: one copy for all of them."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from datacurate.errors import TrainingError

_ALIGNMENT = 64  # bytes: what vector loads like


def share(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[BinaryIO, dict[str, Any]]:
    """Copy arrays into a file without a name and say where each lies.

    The system frees it when the last process that holds it ends, however that ends.

    Returns
    -------
    file : binary file
        Its descriptor is for a child process to inherit.
    layout : dict
        For `attach`, in JSON values.

    Raises
    ------
    TrainingError
        If there is no room for a copy.
    """
    layout: dict[str, Any] = {}
    file = nameless()
    try:
        for name, given in arrays.items():
            array = np.ascontiguousarray(given)
            offset = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            file.write(array.data)
            layout[name] = {"dtype": array.dtype.str, "shape": array.shape, "offset": offset}
        # An empty array at the end has a place too.
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
    """Return the arrays that `share` laid out, mapped and not copied.

    Parameters
    ----------
    descriptor : int
        Of the file, inherited.
    layout : mapping
    """
    with os.fdopen(descriptor, "rb") as file:
        # Copy on write: torch takes arrays only that it may write to, and nobody writes.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return {
        name: np.ndarray(
            tuple(place["shape"]), place["dtype"], buffer=mapped, offset=place["offset"]
        )
        for name, place in layout.items()
    }


def nameless() -> BinaryIO:
    """Return an empty file that only those find who are given its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("datacurate"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
