"""Download a file with a pinned hash: whole and right, or not at all.

What arrived before a connection broke or a process was killed is kept in a hidden file beside the
target, and the next attempt goes on from there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import socket
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datacurate.errors import FetchError, OutputError
from datacurate.notices import Notify
from datacurate.outputs import atomic_path

_BLOCK = 1 << 20  # bytes read at once
_PATIENCE = 30.0  # seconds without an answer or a byte
_ATTEMPTS = 5  # in a row that bring nothing new
_FIRST_WAIT = 0.5  # seconds before the second attempt; doubled each time
_LONGEST_WAIT = 60.0  # seconds, also where the server asks for more
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _PassingError(Exception):
    """A failure that another attempt may get past."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class _Download:
    """One download under way.

    Attributes
    ----------
    url : str
    size : int or None
        Of the whole file, where it is known beforehand.
    say : callable
    stream : file
        Collects the bytes; in append mode.
    """

    url: str
    size: int | None
    say: Notify
    stream: IO[bytes]
    told: int = 0


def download(
    url: str, target: Path, known_hash: str, *, size: int | None = None, tell: Notify | None = None
) -> None:
    """Download a file to a path, if its hash is the expected one.

    Passing failures (429, 5xx, silence, a broken connection) are tried again, each time after a
    longer wait or the one that the server asks for, from where the last attempt stopped if the
    server can. A file with another hash is downloaded once more from its start.

    Parameters
    ----------
    url : str
    target : Path
        Its directory exists. What is there stays until the download is whole and right.
    known_hash : str
        ``sha256:`` or ``md5:`` and hex digits.
    size : int, optional
        In bytes, where it is known.
    tell : callable, optional
        Called with a line for people now and then.

    Raises
    ------
    FetchError
        If there is no network, the server refuses, the connection breaks, or the hash differs.
    OutputError
        If the file cannot be written.
    """
    algorithm, _, expected = known_hash.partition(":")
    try:
        with _collecting(target, expected) as (path, stream):
            work = _Download(url, size, tell or (lambda _: None), stream)
            for last in (False, True):
                _complete(work)
                with path.open("rb") as whole:
                    got = hashlib.file_digest(whole, algorithm).hexdigest()
                if got == expected:
                    break
                stream.truncate(0)
                if last:
                    raise FetchError(
                        f"the file at {url} is not the one that is expected",
                        expected=f"{algorithm} {expected}",
                        got=f"{algorithm} {got}",
                        hint="get the file elsewhere and give its place, or try again later",
                    )
                work.say(f"{url} arrived with another hash; downloading it once more")
            with atomic_path(target) as temporary:
                path.replace(temporary)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written: {error.strerror or error}",
            hint="free some space or choose another place; nothing that existed was changed",
        ) from error


@contextlib.contextmanager
def _collecting(target: Path, digest: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yield the file that collects a download, ours alone while the block runs.

    It is the one that an earlier download of the same content left, unless another process is
    filling that: then a private one.
    """
    path = target.with_name(f".{target.name}.{digest[:12]}.part")
    stream = path.open("ab")
    private = not _claim(path, stream)
    if private:
        stream.close()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        path, stream = Path(name), os.fdopen(handle, "ab")
    try:
        with stream:
            yield path, stream
    except OSError:
        path.unlink(missing_ok=True)  # a full disk is not helped by what is kept on it
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            if private or path.stat().st_size == 0:
                path.unlink()


def _claim(path: Path, stream: IO[bytes]) -> bool:
    """Return whether a file is now locked by us and still has its name."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        return False


def _complete(work: _Download) -> None:
    """Bring the collecting file to its whole length, in as many attempts as that takes."""
    furthest = os.fstat(work.stream.fileno()).st_size
    failures = 0
    while True:
        try:
            _attempt(work)
            return
        except _PassingError as passing:
            work.stream.flush()
            reached = os.fstat(work.stream.fileno()).st_size
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= _ATTEMPTS:
                raise FetchError(
                    f"{work.url} could not be downloaded: {passing}",
                    got=f"{_ATTEMPTS} attempts, {reached:,} bytes",
                    hint="run the command again: it goes on where this one stopped",
                ) from passing
            wait = max(passing.wait, min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT))
            work.say(f"{work.url}: {passing}; trying again in {wait:.1f} s")
            time.sleep(wait)


def _attempt(work: _Download) -> None:
    """Ask for what is missing and append it."""
    start = os.fstat(work.stream.fileno()).st_size
    if work.size is not None and start >= work.size:
        return
    request = urllib.request.Request(work.url, headers={"User-Agent": "datacurate"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _answered(request, work) as response:
        if response.status != 206 or not _continues(response, start):
            work.stream.truncate(0)
            start = 0
        length = response.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdigit() else work.size
        if not work.told:
            work.say(f"downloading {work.url}" + (f" ({total / 1e6:,.0f} MB)" if total else ""))
        received = start
        while block := _next_block(response):
            work.stream.write(block)
            received += len(block)
            if work.size is not None and received > work.size:
                break  # more than there should be: the hash will tell
            if total and received * 10 // total > work.told:
                work.told = received * 10 // total
                work.say(f"downloaded {received * 100 // total} %")
        work.stream.flush()
    if total is not None and received < total:
        raise _PassingError(f"the download was cut off after {received:,} of {total:,} bytes")


def _continues(response: Any, start: int) -> bool:
    """Return whether an answer to a range begins where it was asked to."""
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


@contextlib.contextmanager
def _answered(request: urllib.request.Request, work: _Download) -> Iterator[Any]:
    try:
        response = urllib.request.urlopen(request, timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:  # the kept part is no part of this file
            work.stream.truncate(0)
            raise _PassingError(answer) from error
        if error.code in _PASSING:
            raise _PassingError(answer, _asked_wait(error.headers)) from error
        raise FetchError(f"{request.full_url} could not be downloaded: {answer}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        # No such host, no route and nobody listening will be the same in a minute.
        if (
            isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLError)
            or getattr(reason, "errno", None) in _NO_ROUTE
        ):
            raise FetchError(
                f"{request.full_url} could not be downloaded: {reason}",
                hint="check the network connection",
            ) from error
        raise _PassingError(str(reason) or type(reason).__name__) from error
    with response:
        yield response


def _asked_wait(headers: Any) -> float:
    """Return the seconds that a server asks to wait, within reason; dates are not understood."""
    asked = str(headers.get("Retry-After") or "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0


def _next_block(response: Any) -> bytes:
    try:
        block: bytes = response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(f"the connection broke off: {error}") from error
    return block
