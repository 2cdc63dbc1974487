"""A batch in parts, each searched on cores of its own.

An attack is a long chain of small kernels. Two cores that share every kernel wait for each other
at its end; two that have half of the examples each do not.
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
"""Fills in the batch that it is for; returns which of its examples are claimed, shape (N,)."""

_LEAST = 4  # examples for which a part is worth a core


def parts(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut the rows of a batch into as many parts as there are threads, or fewer if they are few."""
    count = max(1, min(torch.get_num_threads(), len(rows) // _LEAST))
    return np.array_split(rows, count)


def at_once(
    searches: Sequence[Search], batches: Sequence[AttackBatch], *, autograd: bool
) -> list[Tensor]:
    """Run a search for each of several batches at a time, each on its share of the threads.

    Searches are so many short kernels that Python between them, and the memory that threads
    share, keep a second thread waiting; on Linux they go on in processes, which begin as copies of
    this one. Autograd may not be copied once it has threads: what needs it goes on in threads.

    Parameters
    ----------
    searches : sequence of callable
    batches : sequence of AttackBatch
        Their attacked_models can be asked by several threads at a time.
    autograd : bool
        Whether the searches need it.

    Returns
    -------
    list of Tensor
        What the searches return.

    Raises
    ------
    DatacurateError
        If a process ends without a word; otherwise what the searches raise.
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
            # Interrupted, or one of them failed: the others end with their next step.
            for batch in batches:
                batch.cancelled = True
            raise


def _in_processes(searches: Sequence[Search], batches: Sequence[AttackBatch]) -> list[Tensor]:
    """Run the first search here and each of the others in a process."""
    # A copied process has none of its parent's threads, so that more than one would be waited for.
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
                    "a process that searched a part of the batch ended without a word",
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
    """Run a search in a copy of this process; what it found comes through the line."""
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
    """Search, and say what was found or what went wrong."""
    # An interrupt is for the parent, which ends this process; without a parent there is no use.
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
