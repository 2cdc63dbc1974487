"""The process of a member that is made beside others, started by `datacurate.workers.local`.

It is given two inherited descriptors, its line to the parent and the data, and its job on the line.
It sends what the job tells on the way, and at the end that the member is made, or why it is not;
what it made lies in the state folder. When the parent ends, so does it, at once: nobody else would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from datacurate import errors


def main() -> None:
    """Make the member that the parent asks for."""
    # Ctrl-C reaches the whole group of processes; what it means is for the parent to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Connection(int(sys.argv[1]))
    job = json.loads(line.recv_bytes())
    threading.Thread(target=_end_with_parent, args=(line,), daemon=True).start()
    try:
        _make(job, line)
    except Exception as error:
        _send(line, {"error": stated(error)})
        return
    _send(line, {"made": True})


def stated(error: Exception) -> dict[str, Any]:
    """Return an error as JSON values, for `raised`."""
    if isinstance(error, errors.DatacurateError):
        parts = {key: getattr(error, key) for key in ("what", "expected", "got", "hint")}
        return {"kind": type(error).__name__, **parts}
    return {"kind": "", "what": f"{type(error).__name__}: {error}", "got": traceback.format_exc()}


def raised(message: Mapping[str, Any]) -> Exception:
    """Return the error that a worker stated, to be raised in its parent."""
    if not message["kind"]:
        fault = RuntimeError(message["what"])
        fault.add_note(f"in a process of its own:\n{message['got']}")
        return fault
    kind: type[errors.DatacurateError] = getattr(errors, message["kind"])
    error = kind.__new__(kind)
    parts = {key: message[key] for key in ("expected", "got", "hint")}
    # Some kinds put their message together from other arguments; it is together already.
    errors.DatacurateError.__init__(error, message["what"], **parts)
    return error


def _make(job: Mapping[str, Any], line: Connection) -> None:
    from datacurate.workers.shared_arrays import attach

    module, _, name = job["maker"].partition(":")
    make = getattr(import_module(module), name)
    arrays = attach(int(sys.argv[2]), job["layout"])
    make(job["described"], arrays, job["number"], lambda told: _send(line, {"told": told}))


def _send(line: Connection, message: Mapping[str, Any]) -> None:
    line.send_bytes(json.dumps(message).encode())


def _end_with_parent(line: Connection) -> None:
    try:
        line.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
