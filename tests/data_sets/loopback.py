"""An HTTP server on this machine, for tests of downloads."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from typing import Any


class Server:
    """Serves the files of a folder while its block runs.

    A file whose name begins with ``cut-`` breaks off in the middle.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir()
        self.requests: list[str] = []
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
        self._owner.requests.append(self.path)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        outputfile.write(data[: len(data) // 2] if "/cut-" in self.path else data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
