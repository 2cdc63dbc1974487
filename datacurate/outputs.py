"""Write results to disk: one writer at a time, temporary file → fsync → rename."""

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
    """Raise an error if a result may not be written to `path`.

    Raises
    ------
    OutputExistsError
        If the path exists and `force` is false, or if it is a directory.
    OutputError
        If the parent directory is missing or cannot be written.
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

    Until the move, and after any failure, an existing file at `path` stays unchanged. After the
    move, temporary files that killed writers of the same path left behind are removed.

    Raises
    ------
    OutputError
        If the system refuses: a full disk, no permission.
    """
    try:
        with _locked_temporary(path, _new_file) as temporary:
            yield temporary
            # mkstemp makes private files; give the result the permissions of any new file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
            _sync_directory(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    _remove_abandoned(path)


@contextlib.contextmanager
def atomic_directory(path: Path, mark: str, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; move it there if the block succeeds.

    Temporary directories of killed writers are removed as in `atomic_path`.

    Parameters
    ----------
    path : Path
    mark : str
        The file in the directory that shows that datacurate wrote it. A directory without it is
        never replaced.
    force : bool
        Whether to replace an existing directory.

    Raises
    ------
    OutputExistsError
        If the path exists and may not be replaced.
    OutputError
        If the system refuses: a full disk, no permission.
    """
    refuse_existing_directory(path, mark, force)
    try:
        with _locked_temporary(path, _new_directory) as temporary:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o777 & ~umask)
            refuse_existing_directory(path, mark, force)
            if path.exists():
                # A directory cannot be replaced in one step, so move the old one aside first. If
                # the process is killed in between, it is the only copy: nothing removes it later.
                aside = _new_directory(path, ".old")
                path.replace(aside / path.name)
                temporary.replace(path)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                temporary.replace(path)
            _sync_directory(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    _remove_abandoned(path)


def refuse_existing_directory(path: Path, mark: str, force: bool = False) -> None:
    """Raise an error if `atomic_directory` may not write a directory to `path`.

    Parameters
    ----------
    path, mark, force
        As for `atomic_directory`.

    Raises
    ------
    OutputExistsError
        If the path exists and may not be replaced.
    OutputError
        If the parent directory is missing.
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
    """Write a JSON file atomically, indented and with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


@contextlib.contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file during the block; the system frees it when the process ends.

    Parameters
    ----------
    path : Path
        The lock file; its directory exists.
    what : str
        The protected output, for the error message.

    Raises
    ------
    OutputBusyError
        If another process holds the lock.
    OutputError
        If the lock file cannot be written.
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
def _locked_temporary(path: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """Yield a new temporary file or directory beside `path`, locked; remove it afterwards.

    The system frees the lock when the process ends for any reason, so other processes can tell
    that the file is abandoned.
    """
    while True:
        temporary = make(path)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY)
            with contextlib.suppress(OSError):  # not every file system has locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_same_file(temporary, handle):
                break
            os.close(handle)  # another process removed it before we locked it
    try:
        yield temporary
    finally:
        _remove(temporary)
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files and directories of `path` that no process has locked."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(_UNFINISHED)}")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        leftovers = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
        for leftover in leftovers:
            with contextlib.suppress(OSError):
                handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_same_file(leftover, handle):
                        _remove(leftover)
                finally:
                    os.close(handle)


def _is_same_file(path: Path, handle: int) -> bool:
    """Return whether a path still names the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_error(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} could not be written: {error.strerror or error}",
        hint="free some space or choose another place; nothing that existed was changed",
    )


def _sync_directory(directory: Path) -> None:
    """Make a rename durable, where the file system can sync a directory."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
