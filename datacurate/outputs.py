"""How a result reaches the disk: one writer at a time, temp → fsync → rename, nothing lost."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock

from datacurate.errors import OutputBusyError, OutputError, OutputExistsError

_UNFINISHED = ".part"


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

    Until the move, and after any failure, whatever was at `path` stays as it was. After the move,
    what killed writers of this very path left beside it is removed.

    Raises
    ------
    OutputError
        If the system refuses: a full disk, no permission.
    """
    try:
        with _own(path, _new_file) as temporary:
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
    _remove_abandoned(path)


@contextlib.contextmanager
def atomic_directory(path: Path, mark: str, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; move it there if the block succeeds.

    What killed writers left is removed as by `atomic_path`.

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
    try:
        with _own(path, _new_directory) as temporary:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o777 & ~umask)
            refuse_existing_directory(path, mark, force)
            if path.exists():
                # Moved aside first: a directory cannot be replaced in one step. If we are killed
                # in between, this is all there is of it, so nothing ever removes it for us.
                aside = _new_directory(path, ".old")
                path.replace(aside / path.name)
                temporary.replace(path)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                temporary.replace(path)
            _sync_directory(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    _remove_abandoned(path)


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


def _new_file(path: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    os.close(handle)
    return Path(name)


def _new_directory(path: Path, suffix: str = _UNFINISHED) -> Path:
    return Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=suffix))


@contextlib.contextmanager
def _own(path: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """Yield what was made beside `path`, locked for as long as we live; remove what is left of it.

    The system frees the lock of a process that dies, however it dies and whatever its number and
    host are called, and that is how others know.
    """
    while True:
        temporary = make(path)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY)
            with contextlib.suppress(OSError):  # systems without such locks go without
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _still_names(temporary, handle):
                break
            os.close(handle)  # taken for abandoned before we had locked it
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files and directories of `path` that no living process has locked."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(_UNFINISHED)}")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        found = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]
        for abandoned in found:
            with contextlib.suppress(OSError):
                handle = os.open(abandoned, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _still_names(abandoned, handle):
                        _remove(abandoned)
                finally:
                    os.close(handle)


def _still_names(path: Path, handle: int) -> bool:
    """Return whether a path still leads to what was opened from it."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
