"""Several members at a time, each in a process of its own.

A member leaves all that it made in the state folder, so nothing but progress comes back from its
process: whoever wants the run reads it from there, as after an interruption. That is why the
columns are the same to the bit however many members are made at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, BinaryIO, cast

from datacurate.errors import TrainingError
from datacurate.recipes import ProfileRecipe, as_dict
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.members import is_made
from datacurate.training.shared import nameless, share
from datacurate.training.worker import raised

_WORKER = "datacurate.training.worker"


def in_turn(
    recipe: ProfileRecipe,
    data: TrainingData,
    state: Path,
    at_once: int,
    on_epoch: Callable[[int, list[EpochReport]], None],
) -> Generator[int]:
    """Yield the numbers of the runs, in order; each is made by then if several go on at once.

    Close the iterator when it is not exhausted: that ends the processes, whose last saved epochs
    stay.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    data : TrainingData
    state : Path
        The folder of the profile's state.
    at_once : int
        How many processes; with 1 there is none, and making the runs is left to the caller.
    on_epoch : callable
        Called with a run's number and its history so far after each epoch that a process saved.

    Raises
    ------
    TrainingError
        If a member diverges, runs out of memory, or its process ends without a word.
    """
    if at_once == 1:
        yield from range(recipe.runs)
        return
    unmade = deque(run for run in range(recipe.runs) if not is_made(recipe, run, state))
    made = set(range(recipe.runs)) - set(unmade)
    working: dict[Connection, _Worker] = {}
    shared, layout = share(data)
    job = {"recipe": as_dict(recipe), "state": str(state), "layout": layout}
    try:
        for run in range(recipe.runs):
            while True:
                while unmade and len(working) < at_once:
                    worker = _start({**job, "run": unmade.popleft()}, shared)
                    working[worker.line] = worker
                if run in made:
                    break
                for line in wait(list(working)):
                    worker = working[cast(Connection, line)]
                    history = _heard(worker)
                    if history is None:
                        made.add(worker.run)
                        _end(working.pop(worker.line))
                    else:
                        on_epoch(worker.run, history)
            yield run
    finally:
        shared.close()
        for worker in working.values():
            _end(worker)


@dataclass(frozen=True)
class _Worker:
    """A process that makes a run.

    Attributes
    ----------
    run : int
    process : Popen
    line : Connection
        Open as long as we live: its end is what tells the process that we are gone.
    log : file
        What the process printed.
    """

    run: int
    process: subprocess.Popen[bytes]
    line: Connection
    log: BinaryIO


def _start(job: Mapping[str, Any], shared: BinaryIO) -> _Worker:
    """Start the process of a job.

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
    ours.send_bytes(json.dumps(job).encode())
    return _Worker(job["run"], process, ours, log)


def _heard(worker: _Worker) -> list[EpochReport] | None:
    """Return the history that a worker sends, or None when its run is made; raise its error."""
    try:
        message = json.loads(worker.line.recv_bytes())
    except (EOFError, OSError) as error:
        raise _silence(worker) from error
    if "error" in message:
        raise raised(message["error"])
    if "made" in message:
        return None
    return [EpochReport(**values) for values in message["history"]]


def _silence(worker: _Worker) -> TrainingError:
    code = worker.process.wait()
    worker.log.seek(0)
    said = worker.log.read().decode(errors="replace").strip().splitlines()
    return TrainingError(
        f"the process of run {worker.run + 1} ended without a word",
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
