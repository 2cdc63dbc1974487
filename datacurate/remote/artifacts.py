"""Find the data that comes with the package."""

from __future__ import annotations

import os
from pathlib import Path

from datacurate.errors import FileError

VARIABLE = "DATACURATE_ARTIFACTS"

_PACKAGE = Path(__file__).resolve().parents[1]


def artifacts_directory() -> Path:
    """Return the directory of the bundled rank files and of their registry.

    It is the directory named by ``$DATACURATE_ARTIFACTS`` (for your own mirror), or the one in the
    installed package, or the one beside the package in a checkout.

    Raises
    ------
    FileError
        If none of them has a registry.
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
