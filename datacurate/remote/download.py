"""Download a file with a known hash; write it only if it is complete and correct.

A hidden file beside the target keeps what was received before a connection broke or a process was
killed. The next attempt continues from there.
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

_ATTEMPTS = 5  # consecutive attempts without progress
_FIRST_WAIT = 0.5  # seconds before the second attempt; doubled each time
_LONGEST_WAIT = 60.0  # seconds, even if the server asks for more
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})
_TEMPORARY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class _TemporaryError(Exception):
    """A failure that may disappear on another attempt; `wait` is the shortest wait in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class _Download:
    """The state of one download.

    Attributes
    ----------
    url : str
    size : int or None
        Size of the complete file in bytes, if it is known.
    say : callable
        Called with messages about the progress.
    stream : file
        Receives the bytes; in append mode.
    timeout : float
        Seconds without an answer or a byte before an attempt fails.
    block : int
        Bytes per read.
    tenths : int
        Tenths of the file that were reported.
    """

    url: str
    size: int | None
    say: Notify
    stream: IO[bytes]
    timeout: float
    block: int
    tenths: int = 0


def download(
    url: str,
    target: Path,
    known_hash: str,
    *,
    size: int | None = None,
    tell: Notify | None = None,
    timeout: float = 30.0,
    block: int = 1 << 20,
) -> None:
    """Download a file to a path if it has the expected hash.

    Temporary failures (429, 5xx, timeout, a broken connection) are retried after increasing waits
    or the wait that the server asks for. A retry continues where the last attempt stopped, if the
    server supports ranges. A file with another hash is downloaded once more from the start.

    Parameters
    ----------
    url : str
    target : Path
        Path of the file; its directory exists. An existing file stays until the download is
        complete and correct.
    known_hash : str
        ``sha256:`` or ``md5:`` and hex digits.
    size : int, optional
        Size in bytes, if it is known.
    tell : callable, optional
        Called with messages about the progress.
    timeout : float
        Seconds without an answer or a byte before an attempt fails.
    block : int
        Bytes per read.

    Raises
    ------
    FetchError
        If there is no network, the server refuses, the connection breaks, or the hash differs.
    OutputError
        If the file cannot be written.
    """
    algorithm, _, expected = known_hash.partition(":")
    try:
        with _partial_file(target, expected) as (path, stream):
            transfer = _Download(url, size, tell or (lambda _: None), stream, timeout, block)
            for last in (False, True):
                _download_all(transfer)
                with path.open("rb") as file:
                    got = hashlib.file_digest(file, algorithm).hexdigest()
                if got == expected:
                    break
                stream.truncate(0)
                if last:
                    raise FetchError(
                        f"the file at {url} has an unexpected hash",
                        expected=f"{algorithm} {expected}",
                        got=f"{algorithm} {got}",
                        hint="get the file from another place, or try again later",
                    )
                transfer.say(f"{url} has an unexpected hash; downloading it again")
            with atomic_path(target) as temporary:
                path.replace(temporary)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written: {error.strerror or error}",
            hint="free some space or choose another place; nothing that existed was changed",
        ) from error


@contextlib.contextmanager
def _partial_file(target: Path, digest: str) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yield the file that receives a download, locked while the block runs.

    Continue the partial file of an earlier download of the same content. If another process is
    writing it, use a private file.
    """
    path = target.with_name(f".{target.name}.{digest[:12]}.part")
    stream = path.open("ab")
    private = not _lock(path, stream)
    if private:
        stream.close()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        path, stream = Path(name), os.fdopen(handle, "ab")
    try:
        with stream:
            yield path, stream
    except OSError:
        path.unlink(missing_ok=True)  # keep nothing on a full disk
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            if private or path.stat().st_size == 0:
                path.unlink()


def _lock(path: Path, stream: IO[bytes]) -> bool:
    """Lock a file; return whether that worked and the path still names it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    except OSError:
        return False


def _download_all(transfer: _Download) -> None:
    """Fill the partial file, with retries."""
    furthest = os.fstat(transfer.stream.fileno()).st_size
    failures = 0
    while True:
        try:
            _attempt(transfer)
            return
        except _TemporaryError as failure:
            transfer.stream.flush()
            reached = os.fstat(transfer.stream.fileno()).st_size
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= _ATTEMPTS:
                raise FetchError(
                    f"{transfer.url} could not be downloaded: {failure}",
                    got=f"{_ATTEMPTS} attempts, {reached:,} bytes",
                    hint="run the command again to continue the download",
                ) from failure
            wait = max(failure.wait, min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT))
            transfer.say(f"{transfer.url}: {failure}; trying again in {wait:.1f} s")
            time.sleep(wait)


def _attempt(transfer: _Download) -> None:
    """Request the missing bytes and append them."""
    start = os.fstat(transfer.stream.fileno()).st_size
    if transfer.size is not None and start >= transfer.size:
        return
    request = urllib.request.Request(transfer.url, headers={"User-Agent": "datacurate"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    with _open_response(request, transfer) as response:
        if response.status != 206 or not _starts_at(response, start):
            transfer.stream.truncate(0)
            start = 0
        length = response.headers.get("Content-Length") or ""
        total = start + int(length) if length.isdigit() else transfer.size
        if not transfer.tenths:
            transfer.say(
                f"downloading {transfer.url}" + (f" ({total / 1e6:,.0f} MB)" if total else "")
            )
        received = start
        while block := _read_block(response, transfer.block):
            transfer.stream.write(block)
            received += len(block)
            if transfer.size is not None and received > transfer.size:
                break  # too many bytes: the hash will differ
            if total and received * 10 // total > transfer.tenths:
                transfer.tenths = received * 10 // total
                transfer.say(f"downloaded {received * 100 // total} %")
        transfer.stream.flush()
    if total is not None and received < total:
        raise _TemporaryError(f"the download stopped after {received:,} of {total:,} bytes")


def _starts_at(response: Any, start: int) -> bool:
    """Return whether the response to a range request starts at the requested byte."""
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


@contextlib.contextmanager
def _open_response(request: urllib.request.Request, transfer: _Download) -> Iterator[Any]:
    try:
        response = urllib.request.urlopen(request, timeout=transfer.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416:  # the partial file does not belong to this file
            transfer.stream.truncate(0)
            raise _TemporaryError(answer) from error
        if error.code in _TEMPORARY_STATUS:
            raise _TemporaryError(answer, retry_after(error.headers)) from error
        raise FetchError(f"{request.full_url} could not be downloaded: {answer}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        # Unknown hosts, missing routes and refused connections rarely change within a minute.
        if (
            isinstance(reason, socket.gaierror | ConnectionRefusedError | ssl.SSLError)
            or getattr(reason, "errno", None) in _NO_ROUTE
        ):
            raise FetchError(
                f"{request.full_url} could not be downloaded: {reason}",
                hint="check the network connection",
            ) from error
        raise _TemporaryError(str(reason) or type(reason).__name__) from error
    with response:
        yield response


def retry_after(headers: Any) -> float:
    """Return the seconds of a Retry-After header, limited; dates are ignored."""
    value = str(headers.get("Retry-After") or "")
    return min(float(value), _LONGEST_WAIT) if value.isdecimal() else 0.0


def _read_block(response: Any, size: int) -> bytes:
    try:
        block: bytes = response.read(size)
    except (OSError, http.client.HTTPException) as error:
        raise _TemporaryError(f"the connection broke: {error}") from error
    return block
