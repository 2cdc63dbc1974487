"""Where the data that comes with the package lies."""

from __future__ import annotations

import os
from pathlib import Path

from datacurate.errors import FileError

VARIABLE = "DATACURATE_ARTIFACTS"

_PACKAGE = Path(__file__).resolve().parents[1]


def artifacts_directory() -> Path:
    """Return the directory of rank files that ship with the package, and of their registry.

    That is the one named by ``$DATACURATE_ARTIFACTS`` (for a mirror of one's own), else the one
    inside an installed package, else the one beside the package in a checkout.

    Raises
    ------
    FileError
        If there is none.
    """
    if named := os.environ.get(VARIABLE):
        places = [Path(named).expanduser()]
    else:
        places = [_PACKAGE / "_artifacts", _PACKAGE.parent / "artifacts"]
    for place in places:
        if (place / "registry.toml").is_file():
            return place
    raise FileError(
        f"there is no registry of published ranks in {places[-1]}",
        hint=f"unset {VARIABLE}" if named else "install datacurate again",
    )
