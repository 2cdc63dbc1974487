"""Attack the parts of a batch in parallel, each on its own cores.

An attack is a long chain of small kernels. Two cores that share every kernel wait for each other
after each. Two cores that attack half of the examples each do not.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datacurate.attacks.attack_batch import AttackBatch
from datacurate.errors import DatacurateError

Search = Callable[[], Tensor]
"""Attacks a batch in place; returns which of its rows are broken, shape (N,)."""

_LEAST = 4  # examples in a part that are worth a core


def split_rows(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split the rows of a batch into one part for each thread, or fewer parts if there are few."""
    count = max(1, min(torch.get_num_threads(), len(rows) // _LEAST))
    return np.array_split(rows, count)


def run_in_parallel(
    searches: Sequence[Search], batches: Sequence[AttackBatch], *, autograd: bool
) -> list[Tensor]:
    """Attack several batches in parallel, each on its share of the threads.

    With short kernels, Python and shared memory keep a second thread waiting. So on Linux the
    attacks run in forked processes. Autograd does not survive a fork once it has threads, so
    attacks that need it run in threads.

    Parameters
    ----------
    searches : sequence of callable
    batches : sequence of AttackBatch
        Their attacked models must be thread-safe.
    autograd : bool
        Whether the attacks need autograd.

    Returns
    -------
    list of Tensor
        The results of the attacks.

    Raises
    ------
    DatacurateError
        If a process ends without a message; else the error of an attack.
    """
    if len(searches) == 1:
        return [searches[0]()]
    threads = torch.get_num_threads()
    each = max(1, threads // len(searches))
    try:
        if autograd or sys.platform != "linux":
            return _in_threads(searches, batches, each)
        return _in_processes(searches, batches)
    finally:
        torch.set_num_threads(threads)


def _in_threads(
    searches: Sequence[Search], batches: Sequence[AttackBatch], each: int
) -> list[Tensor]:
    def alone(search: Search) -> Tensor:
        torch.set_num_threads(each)
        with torch.no_grad():
            return search()

    with ThreadPoolExecutor(len(searches)) as pool:
        found = [pool.submit(alone, search) for search in searches]
        try:
            return [future.result() for future in found]
        except BaseException:
            # After an interrupt or an error, the others stop at their next step.
            for batch in batches:
                batch.cancelled = True
            raise


def _in_processes(searches: Sequence[Search], batches: Sequence[AttackBatch]) -> list[Tensor]:
    """Run the first attack here and each other one in a process."""
    # A forked process has none of its parent's threads and would wait for them.
    torch.set_num_threads(1)
    with contextlib.ExitStack() as ends:
        lines = [
            ends.enter_context(_process(search, batch))
            for search, batch in zip(searches[1:], batches[1:], strict=True)
        ]
        claims = [searches[0]()]
        for line, batch in zip(lines, batches[1:], strict=True):
            try:
                said = line.recv()
            except EOFError:
                raise DatacurateError(
                    "a process that attacked a part of the batch ended without a message",
                    hint="if memory ran out, evaluate fewer examples at a time",
                ) from None
            if isinstance(said, BaseException):
                raise said
            claimed, results = said
            batch.set_results(results)
            claims.append(torch.from_numpy(claimed))
    return claims


@contextlib.contextmanager
def _process(search: Search, batch: AttackBatch) -> Iterator[Connection]:
    """Run an attack in a fork of this process, which sends its result through the connection."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(target=_work, args=(search, batch, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.terminate()
        process.join()


def _work(search: Search, batch: AttackBatch, line: Connection) -> None:
    """Attack, and send the result or the error."""
    # The parent handles interrupts and ends this process. Without a parent it exits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        claimed = search()
        line.send((claimed.numpy(), batch.results()))
    except Exception as error:
        line.send(error)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
