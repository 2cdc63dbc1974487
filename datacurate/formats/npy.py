"""Arrays from ``.npy`` files of anybody: no Python objects, and one error for all damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def load_plain(path: Path) -> npt.NDArray[Any]:
    """Return the array in a ``.npy`` file.

    Raises
    ------
    ValueError
        If it cannot be read, or is something else, which the message says.
    """
    try:
        # Mapped first: a header that promises more than the file holds is refused by that.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # the header is Python text: damaged, it fails as its bytes spell
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("an archive")
    return np.array(array)
