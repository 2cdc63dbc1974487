"""Which rank file and which data a command means when it names them, or not."""

from __future__ import annotations

from pathlib import Path

from datacurate.errors import UsageError

_PATTERN = "*.ranks.h5"


def rank_file_path(source: Path | None) -> Path:
    """Return the rank file given, else the only one in the current directory.

    Raises
    ------
    UsageError
        If it does not exist, or there is none, or several to choose from.
    """
    here = sorted(Path().glob(_PATTERN))
    among = ", ".join(map(str, here))
    if source is not None:
        if not source.exists():
            raise UsageError(
                f"there is no rank file {source}",
                got=f"in this directory: {among}" if here else "no rank file in this directory",
                hint="give one that exists, or make one: datacurate profile cifar10",
            )
        return source
    if not here:
        raise UsageError(
            f"there is no rank file ({_PATTERN}) in this directory",
            hint="give one, or make one: datacurate profile cifar10",
        )
    if len(here) > 1:
        raise UsageError(
            f"there are {len(here)} rank files in this directory",
            got=among,
            hint=f"name one: datacurate prune {here[0]} ...",
        )
    return here[0]


def recorded_data(name: str, data: Path | None) -> tuple[str, Path | None]:
    """Return the arguments for `datacurate.data.load` of the data set that a file was made for.

    Parameters
    ----------
    name : str
        As the file's identity states it. A name that datacurate does not know is that of a
        folder of the user's own, which only its path can find.
    data : Path, optional
        What was given as ``--data``.
    """
    from datacurate.data import known_names

    if name in known_names() or data is None:
        return name, data
    return str(data), None
