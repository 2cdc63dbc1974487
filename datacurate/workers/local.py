"""Several members of a work at a time, each in a process of its own.

A member is a training with what is computed of it: a run of a profile, or an arm of a verification
with one seed. It leaves all that it made in the state folder, so nothing but progress comes back
from its process: whoever wants the member reads it from there, as after an interruption. That is
why a result is the same to the bit however many members are made at a time.
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
from datacurate.workers.process import raised
from datacurate.workers.shared_arrays import nameless, share

_WORKER = "datacurate.workers.process"


@dataclass(frozen=True)
class Members:
    """The members of a work, as processes of their own are told to make them.

    Attributes
    ----------
    names : sequence of str
        One a member, for messages.
    unmade : sequence of int
        The numbers of those that need a process, ascending. Each of the others is made already,
        or comes with one before it.
    maker : str
        ``"module:function"``. The process calls it with `described`, `arrays`, a number, and a
        function that takes JSON values for whoever watches; it returns once the member lies in the
        state folder.
    described : mapping
        JSON values.
    arrays : mapping of str to ndarray
        Shared by the processes.
    """

    names: Sequence[str]
    unmade: Sequence[int]
    maker: str
    described: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]


def limited(parallel: int, members: int) -> int:
    """Return how many of so many members go on at a time where `parallel` are asked for.

    Raises
    ------
    UsageError
        For fewer than one.
    """
    if parallel < 1:
        raise UsageError(
            "no training can go on at a time", expected="parallel of 1 or more", got=str(parallel)
        )
    return min(parallel, members)


def in_turn(members: Members, together: int, on_told: Callable[[int, Any], None]) -> Generator[int]:
    """Yield the numbers of the members, in order; each is made by then if several go on at once.

    Close the iterator when it is not exhausted: that ends the processes, whose last saved epochs
    stay.

    Parameters
    ----------
    members : Members
    together : int
        How many processes; with 1 there is none, and making the members is left to the caller.
    on_told : callable
        Called with a member's number and what its process tells.

    Raises
    ------
    TrainingError
        If a member diverges, runs out of memory, or its process ends without a word.
    """
    numbers = range(len(members.names))
    if together == 1:
        yield from numbers
        return
    waiting = deque(members.unmade)
    made = set(numbers) - set(waiting)
    working: dict[Connection, _Worker] = {}
    shared, layout = share(members.arrays)
    job = {"maker": members.maker, "described": members.described, "layout": layout}
    try:
        for number in numbers:
            while True:
                while waiting and len(working) < together:
                    worker = _start(members, waiting.popleft(), job, shared)
                    working[worker.line] = worker
                if number in made:
                    break
                for line in wait(list(working)):
                    worker = working[cast(Connection, line)]
                    message = _heard(worker)
                    if "made" in message:
                        made.add(worker.number)
                        _end(working.pop(worker.line))
                    else:
                        on_told(worker.number, message["told"])
            yield number
    finally:
        shared.close()
        for worker in working.values():
            _end(worker)


@dataclass(frozen=True)
class _Worker:
    """A process that makes a member.

    Attributes
    ----------
    number : int
    name : str
    process : Popen
    line : Connection
        Open as long as we live: its end is what tells the process that we are gone.
    log : file
        What the process printed.
    """

    number: int
    name: str
    process: subprocess.Popen[bytes]
    line: Connection
    log: BinaryIO


def _start(members: Members, number: int, job: Mapping[str, Any], shared: BinaryIO) -> _Worker:
    """Start the process of a member.

    A fresh interpreter: torch's threads do not survive a fork, and a script that calls us need not
    guard its main part.
    """
    ours, theirs = Pipe()
    log = nameless()
    given = (theirs.fileno(), shared.fileno())
    process = subprocess.Popen(
        # -P: the modules it finds are those that we found, and no others that lie about here.
        [sys.executable, "-P", "-m", _WORKER, *map(str, given)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=given,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
    )
    theirs.close()
    ours.send_bytes(json.dumps({**job, "number": number}).encode())
    return _Worker(number, members.names[number], process, ours, log)


def _heard(worker: _Worker) -> dict[str, Any]:
    """Return what a worker says: what it tells, or that its member is made; raise its error."""
    try:
        message: dict[str, Any] = json.loads(worker.line.recv_bytes())
    except (EOFError, OSError) as error:
        raise _silence(worker) from error
    if "error" in message:
        raise raised(message["error"])
    return message


def _silence(worker: _Worker) -> TrainingError:
    code = worker.process.wait()
    worker.log.seek(0)
    said = worker.log.read().decode(errors="replace").strip().splitlines()
    return TrainingError(
        f"the process of {worker.name} ended without a word",
        got=f"signal {-code}" if code < 0 else said[-1] if said else f"exit code {code}",
        hint="if the system ran out of memory, run fewer at a time (--parallel) or set a smaller "
        "batch_size; the same command goes on from the last saved epochs",
    )


def _end(worker: _Worker) -> None:
    # One that is done ends by itself; any other may be killed at any moment.
    worker.line.close()
    worker.process.kill()
    worker.process.wait()
    worker.log.close()
