"""The process that runs one unit, started by `datacurate.workers.local`.

It inherits two file descriptors: its connection to the parent, and the shared arrays. The parent
sends the job. The process sends progress, and at the end that the unit is finished, or the error.
The result lies in the workspace. The process exits at once when its parent does.
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
    """Run the unit that the parent asks for."""
    # Ctrl-C reaches the whole process group. The parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    job = json.loads(connection.recv_bytes())
    threading.Thread(target=_exit_with_parent, args=(connection,), daemon=True).start()
    try:
        _run(job, connection)
    except Exception as error:
        _send(connection, {"error": describe_error(error)})
        return
    _send(connection, {"finished": True})


def describe_error(error: Exception) -> dict[str, Any]:
    """Return an error as JSON values, for `rebuild_error`."""
    if isinstance(error, errors.DatacurateError):
        parts = {key: getattr(error, key) for key in ("what", "expected", "got", "hint")}
        return {"kind": type(error).__name__, **parts}
    return {"kind": "", "what": f"{type(error).__name__}: {error}", "got": traceback.format_exc()}


def rebuild_error(message: Mapping[str, Any]) -> Exception:
    """Return the error that `describe_error` described, for the parent to raise."""
    if not message["kind"]:
        fault = RuntimeError(message["what"])
        fault.add_note(f"in a worker process:\n{message['got']}")
        return fault
    kind: type[errors.DatacurateError] = getattr(errors, message["kind"])
    error = kind.__new__(kind)
    parts = {key: message[key] for key in ("expected", "got", "hint")}
    # Some classes build their message from other arguments. This message is complete already.
    errors.DatacurateError.__init__(error, message["what"], **parts)
    return error


def _run(job: Mapping[str, Any], connection: Connection) -> None:
    from datacurate.workers.shared_arrays import attach

    module, _, name = job["function"].partition(":")
    run_unit = getattr(import_module(module), name)
    arrays = attach(int(sys.argv[2]), job["layout"])
    run_unit(
        job["description"],
        arrays,
        job["number"],
        lambda progress: _send(connection, {"progress": progress}),
    )


def _send(connection: Connection, message: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _exit_with_parent(connection: Connection) -> None:
    try:
        connection.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main()
