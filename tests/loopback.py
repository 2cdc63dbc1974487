"""An HTTP server on this machine, for tests of downloads."""

from __future__ import annotations

import functools
import http.server
import re
import threading
import time
from pathlib import Path
from typing import Any


class Server:
    """Serves the files of a folder while its block runs, parts of them too.

    A file whose name begins with ``cut-`` always breaks off in the middle. Each entry of `faults`
    spoils one request: a status (with ``Retry-After: 0``), ``"cut"``, ``"wrong"`` (one byte
    differs), ``"slow"`` (a second of silence), ``"whole"`` (no parts) or ``"reset"``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        self.faults: list[int | str] = []
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(_Handler, self, directory=str(root))
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, owner: Server, *arguments: Any, **options: Any) -> None:
        self._owner = owner
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        owner = self._owner
        owner.requests.append(self.path)
        owner.ranges.append(self.headers.get("Range"))
        fault = owner.faults.pop(0) if owner.faults else None
        path = Path(self.translate_path(self.path))
        if fault == "reset":
            self.connection.close()
            return
        if isinstance(fault, int) or not path.is_file():
            self.send_response(fault if isinstance(fault, int) else 404)
            self.send_header("Retry-After", "0")
            self.end_headers()
            return
        if fault == "slow":
            time.sleep(1)
        data, start = path.read_bytes(), 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and fault != "whole":
            start = int(asked[1])
        if start >= len(data) > 0:
            self.send_response(416)
            self.end_headers()
            return
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        cut = fault == "cut" or "/cut-" in self.path
        self.wfile.write(data[start : start + (len(data) - start) // 2] if cut else data[start:])

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
