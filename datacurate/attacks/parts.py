"""A batch in parts, each searched on cores of its own.

An attack is a long chain of small kernels. Two cores that share every kernel wait for each other
at its end; two that have half of the examples each do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datacurate.attacks.budget import Hunt

_LEAST = 4  # examples for which a part is worth a thread


def parts(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Cut the rows of a batch into as many parts as there are threads, or fewer if they are few."""
    count = max(1, min(torch.get_num_threads(), len(rows) // _LEAST))
    return np.array_split(rows, count)


def at_once(searches: Sequence[Callable[[], Tensor]], hunts: Sequence[Hunt]) -> list[Tensor]:
    """Run a search for each of several hunts at a time, each on its share of the threads.

    Parameters
    ----------
    searches : sequence of callable
        Each returns which examples of its hunt are claimed, shape (N,).
    hunts : sequence of Hunt
        Their victims can be asked by several threads at a time.

    Returns
    -------
    list of Tensor
        In the order of the hunts.
    """
    if len(searches) == 1:
        return [searches[0]()]
    threads = torch.get_num_threads()

    def alone(search: Callable[[], Tensor]) -> Tensor:
        torch.set_num_threads(max(1, threads // len(searches)))
        with torch.no_grad():
            return search()

    try:
        with ThreadPoolExecutor(len(searches)) as pool:
            found = [pool.submit(alone, search) for search in searches]
            try:
                return [future.result() for future in found]
            except BaseException:
                # Interrupted, or one of them failed: the others end with their next step.
                for hunt in hunts:
                    hunt.abandoned = True
                raise
    finally:
        torch.set_num_threads(threads)
