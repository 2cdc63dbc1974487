"""How a result reaches the disk: one writer at a time, temp → fsync → rename, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from datacurate.errors import OutputBusyError, OutputError, OutputExistsError


def refuse_existing(path: Path, force: bool = False) -> None:
    """Raise unless a result may be written to `path`.

    Raises
    ------
    OutputExistsError
        If something is there and `force` is false, or if a directory is there.
    OutputError
        If the directory it would go into is missing or cannot be written.
    """
    if path.is_dir():
        raise OutputExistsError(f"{path} is a directory", hint="give a file name")
    if path.exists() and not force:
        raise OutputExistsError(
            f"{path} exists already", hint="choose another --out, or pass --force to replace it"
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"there is no directory {path.parent} to write {path.name} into",
            hint=f"mkdir -p {path.parent}",
        )
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"the directory {path.parent} cannot be written", hint="choose another")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there, synced, if the block succeeds.

    Until the move, and after any failure, whatever was at `path` stays as it was.

    Raises
    ------
    OutputError
        If the system refuses: a full disk, no permission.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; a result has the permissions any new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: Path, mark: str, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; move it there if the block succeeds.

    Parameters
    ----------
    path : Path
    mark : str
        The name of the file that says a directory was written here. One without it is never
        replaced: it may be anything.
    force : bool
        Whether a directory that exists is replaced.

    Raises
    ------
    OutputExistsError
        If something is there and may not be replaced.
    OutputError
        If the system refuses: a full disk, no permission.
    """
    refuse_existing_directory(path, mark, force)
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        refuse_existing_directory(path, mark, force)
        if path.exists():
            # Moved aside first: a directory cannot be replaced in one step.
            aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
            path.replace(aside / path.name)
            temporary.replace(path)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing_directory(path: Path, mark: str, force: bool = False) -> None:
    """Raise unless a directory may be written to `path`, as `atomic_directory` does.

    Raises
    ------
    OutputError
    """
    if os.path.lexists(path):
        if not force:
            raise OutputExistsError(
                f"{path} exists already", hint="choose another --out, or pass --force to replace it"
            )
        if path.is_symlink() or not (path / mark).is_file():
            raise OutputExistsError(
                f"{path} was not written by datacurate, so --force does not replace it",
                expected=f"a directory that holds {mark}",
                hint="choose another --out",
            )
    if not path.parent.is_dir():
        raise OutputError(
            f"there is no directory {path.parent} to write {path.name} into",
            hint=f"mkdir -p {path.parent}",
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, for people to read too."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


@contextlib.contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; the system frees it when the process dies.

    Parameters
    ----------
    path : Path
        The lock file; its directory exists.
    what : str
        The output it guards, for the message.

    Raises
    ------
    OutputBusyError
        If another process holds it.
    """
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise OutputBusyError(
            f"another process is writing {what}",
            hint="wait for it, stop it, or choose another --out",
        ) from error
    except OSError as error:
        raise OutputError(f"{what} cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _not_written(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror or error}",
        hint="free some space or choose another place; nothing that existed was changed",
    )


def _sync_directory(directory: Path) -> None:
    """Make a rename durable; systems that cannot sync a directory go without."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
