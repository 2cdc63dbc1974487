"""What a training sees, in memory that several processes read: one copy for all of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import numpy as np

from datacurate.errors import TrainingError
from datacurate.training.examples import TrainingData

_ARRAYS = ("images", "labels", "rows", "selection_images", "selection_labels")
_ALIGNMENT = 64  # bytes: what vector loads like


def share(data: TrainingData) -> tuple[BinaryIO, dict[str, Any]]:
    """Copy the data into a file without a name and say where each part lies.

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
    layout: dict[str, Any] = {"classes": data.classes}
    file = nameless()
    try:
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(data, name))
            offset = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            file.write(array.data)
            layout[name] = {"dtype": array.dtype.str, "shape": array.shape, "offset": offset}
        file.flush()
    except OSError as error:
        file.close()
        raise TrainingError(
            f"the images could not be shared between processes: {error.strerror or error}",
            hint="leave out --parallel, or free some memory",
        ) from error
    return file, layout


def attach(descriptor: int, layout: Mapping[str, Any]) -> TrainingData:
    """Return the data that `share` laid out, mapped and not copied.

    Parameters
    ----------
    descriptor : int
        Of the file, inherited.
    layout : mapping
    """
    with os.fdopen(descriptor, "rb") as file:
        # Copy on write: torch takes arrays only that it may write to, and nobody writes.
        arrays = {
            name: np.memmap(
                file,
                dtype=layout[name]["dtype"],
                mode="c",
                offset=layout[name]["offset"],
                shape=tuple(layout[name]["shape"]),
            )
            for name in _ARRAYS
        }
    return TrainingData(**arrays, classes=layout["classes"])


def nameless() -> BinaryIO:
    """Return an empty file that only those find who are given its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("datacurate"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())
