"""Run units of work in processes of this machine, several at a time.

A unit is one training with its measures or attacks: a run of a profile, or one arm and seed of a
verification. It leaves its result in the workspace, and only its progress comes back from the
process. The caller reads the result from the workspace, as it does after an interruption. So the
result is the same to the bit, whatever the concurrency.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, BinaryIO, cast

import numpy.typing as npt

from datacurate.errors import TrainingError, UsageError
from datacurate.workers.process import rebuild_error
from datacurate.workers.shared_arrays import anonymous_file, share

_WORKER_MODULE = "datacurate.workers.process"


@dataclass(frozen=True)
class Units:
    """The units of a work, described so that another process can run them.

    Attributes
    ----------
    names : sequence of str
        One a unit, for messages.
    pending : sequence of int
        Numbers of the units that need a process, ascending. The others are finished, or share
        their training with an earlier unit.
    function : str
        ``"module:function"``. The process calls it with `description`, `arrays`, the unit's number
        and a function that sends JSON values to the parent. It returns when the result lies in the
        workspace.
    description : mapping
        JSON values.
    arrays : mapping of str to ndarray
        Shared by all processes.
    """

    names: Sequence[str]
    pending: Sequence[int]
    function: str
    description: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]


def limit_concurrency(parallel: int, units: int) -> int:
    """Return how many units run at a time: `parallel`, but not more than there are.

    Raises
    ------
    UsageError
        If `parallel` is below one.
    """
    if parallel < 1:
        raise UsageError(
            "at least one training must run at a time",
            expected="parallel of 1 or more",
            got=str(parallel),
        )
    return min(parallel, units)


def run_in_order(
    units: Units, concurrency: int, on_message: Callable[[int, Any], None]
) -> Generator[int]:
    """Yield the numbers of the units in order, each when it is finished.

    With a concurrency of 1 no process is started, and the caller runs each unit itself. Close the
    generator when it is not exhausted: that ends the processes; their last saved epochs stay.

    Parameters
    ----------
    units : Units
    concurrency : int
        Number of processes.
    on_message : callable
        Called with a unit's number and the message of its process.

    Raises
    ------
    TrainingError
        If a unit diverges, runs out of memory, or its process dies without a message.
    """
    numbers = range(len(units.names))
    if concurrency == 1:
        yield from numbers
        return
    waiting = deque(units.pending)
    finished = set(numbers) - set(waiting)
    running: dict[Connection, _Worker] = {}
    shared, layout = share(units.arrays)
    job = {"function": units.function, "description": units.description, "layout": layout}
    try:
        for number in numbers:
            while True:
                while waiting and len(running) < concurrency:
                    worker = _start(units, waiting.popleft(), job, shared)
                    running[worker.connection] = worker
                if number in finished:
                    break
                for connection in wait(list(running)):
                    worker = running[cast(Connection, connection)]
                    message = _receive(worker)
                    if "finished" in message:
                        finished.add(worker.number)
                        _stop(running.pop(worker.connection))
                    else:
                        on_message(worker.number, message["progress"])
            yield number
    finally:
        shared.close()
        for worker in running.values():
            _stop(worker)


@dataclass(frozen=True)
class _Worker:
    """A process that runs one unit.

    Attributes
    ----------
    number : int
    name : str
    process : Popen
    connection : Connection
        Stays open while this process lives. When it closes, the worker exits.
    log : file
        What the process printed.
    """

    number: int
    name: str
    process: subprocess.Popen[bytes]
    connection: Connection
    log: BinaryIO


def _start(units: Units, number: int, job: Mapping[str, Any], shared: BinaryIO) -> _Worker:
    """Start the process of a unit.

    It is a fresh interpreter, because torch's threads do not survive a fork, and because a calling
    script then needs no ``if __name__ == "__main__"``.
    """
    ours, theirs = Pipe()
    log = anonymous_file()
    inherited = (theirs.fileno(), shared.fileno())
    process = subprocess.Popen(
        # -P: import the modules that this process would, not files of the current directory.
        [sys.executable, "-P", "-m", _WORKER_MODULE, *map(str, inherited)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=inherited,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
    )
    theirs.close()
    ours.send_bytes(json.dumps({**job, "number": number}).encode())
    return _Worker(number, units.names[number], process, ours, log)


def _receive(worker: _Worker) -> dict[str, Any]:
    """Return the next message of a worker, or raise the error that it reports."""
    try:
        message: dict[str, Any] = json.loads(worker.connection.recv_bytes())
    except (EOFError, OSError) as error:
        raise _error_of_dead(worker) from error
    if "error" in message:
        raise rebuild_error(message["error"])
    return message


def _error_of_dead(worker: _Worker) -> TrainingError:
    code = worker.process.wait()
    worker.log.seek(0)
    printed = worker.log.read().decode(errors="replace").strip().splitlines()
    return TrainingError(
        f"the process of {worker.name} ended without a message",
        got=f"signal {-code}" if code < 0 else printed[-1] if printed else f"exit code {code}",
        hint="if the system ran out of memory, run fewer at a time (--parallel) or set a smaller "
        "batch_size; the same command continues from the last saved epochs",
    )


def _stop(worker: _Worker) -> None:
    # A finished process exits by itself. Any other may be killed at any moment.
    worker.connection.close()
    worker.process.kill()
    worker.process.wait()
    worker.log.close()
