"""Download a file with a pinned hash: whole and right, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datacurate.errors import FetchError
from datacurate.outputs import atomic_path

_BLOCK = 1 << 20  # bytes read at once
_PATIENCE = 30.0  # seconds without an answer or a byte


def download(
    url: str, target: Path, *, md5: str, tell: Callable[[str], None] | None = None
) -> None:
    """Download a file to a path, if its MD5 sum is the expected one.

    Parameters
    ----------
    url : str
    target : Path
        Its directory exists. What is there stays until the download is whole and right.
    md5 : str
        Hex digits.
    tell : callable, optional
        Called with a line for people now and then.

    Raises
    ------
    FetchError
        If there is no network, the server refuses, the connection breaks, or the sum differs.
    OutputError
        If the file cannot be written.
    """
    say = tell or (lambda _: None)
    with atomic_path(target) as temporary:
        try:
            response = urllib.request.urlopen(url, timeout=_PATIENCE)
        except urllib.error.HTTPError as error:
            error.close()
            raise FetchError(
                f"{url} could not be downloaded: the server answered {error.code} {error.reason}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise FetchError(
                f"{url} could not be downloaded: {reason}", hint="check the network connection"
            ) from error
        digest = hashlib.md5(usedforsecurity=False)
        expected = response.headers.get("Content-Length")
        total = int(expected) if expected and expected.isdigit() else None
        say(f"downloading {url}" + (f" ({total / 1e6:,.0f} MB)" if total else ""))
        received, told = 0, 0
        with response, temporary.open("wb") as stream:
            while block := _next_block(response, url):
                stream.write(block)
                digest.update(block)
                received += len(block)
                if total and received * 10 // total > told:
                    told = received * 10 // total
                    say(f"downloaded {received * 100 // total} %")
        if total is not None and received != total:
            raise FetchError(
                f"the download of {url} was cut off",
                expected=f"{total:,} bytes",
                got=f"{received:,} bytes",
                hint="run the command again",
            )
        if digest.hexdigest() != md5:
            raise FetchError(
                f"the file at {url} is not the official one",
                expected=f"MD5 {md5}",
                got=f"MD5 {digest.hexdigest()}",
                hint="download the data set elsewhere and give its place with --data DIR",
            )


def _next_block(response: Any, url: str) -> bytes:
    try:
        block: bytes = response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(
            f"the download of {url} broke off: {error}", hint="run the command again"
        ) from error
    return block
