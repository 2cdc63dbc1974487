"""CUDA graphs: record the passes of a network once, and replay them.

A GPU finishes the kernels of a small pass faster than Python launches them. A recorded graph
launches all of them at once. The kernels are the same.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import ClassVar, cast

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

_SIZES = (16, 32, 64, 128, 256)  # batches are padded to one of these sizes and recorded
_STEP = 128  # larger batches are padded to a multiple; every size chooses kernels anew
_ALLOWED_ERROR = 0.05  # relative; kernels may add in another order every time


class RecordedFunction:
    """A function of images whose CUDA kernels are recorded and replayed.

    There is one recording for each batch size, with and without a gradient. Larger batches keep the
    GPU busy without one. Compute the gradient of a pass before the next pass with a gradient. A
    function that waits for its own results cannot be recorded, and a recording with other results
    is not used. Then the function itself is called.

    Parameters
    ----------
    function : callable
        Images of shape (N, C, H, W) to results of shape (N, K), each image's its own. It reads
        weights, which require no gradient, where they are: they may change between calls, but may
        not move.
    sizes : sequence of int, optional
        Sizes of recorded batches, ascending; by default a few that serve all batches.
    """

    _given_up: ClassVar[bool] = False  # torch may not recover from a failed recording

    def __init__(self, function: Function, sizes: tuple[int, ...] = _SIZES) -> None:
        self._function = function
        self._sizes = sizes
        self._recorded: dict[Hashable, Function] = {}
        # Recordings that share memory would overwrite what a backward pass needs.
        self._memory = {wanted: torch.cuda.graph_pool_handle() for wanted in (False, True)}
        gc.collect()  # recordings are in reference cycles and hold GPU memory

    def __call__(self, x: Tensor) -> Tensor:
        """Return the result of the function, with a gradient to `x` if it requires one."""
        size = filled(len(x), self._sizes)
        whole = torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])]) if size > len(x) else x
        if not size or size > self._sizes[-1]:
            return self._function(whole)[: len(x)]
        with_gradient = torch.is_grad_enabled() and x.requires_grad
        key = whole.shape, with_gradient
        if key not in self._recorded:
            self._recorded[key] = self._record(whole.detach(), with_gradient)
        if with_gradient:
            # The next call overwrites the memory of the recording.
            whole = whole.clone()
            whole.register_hook(torch.clone)  # type: ignore[no-untyped-call]
        return self._recorded[key](whole)[: len(x)].clone()

    def _record(self, x: Tensor, with_gradient: bool) -> Function:
        sample = x.contiguous().clone().requires_grad_(with_gradient)
        if RecordedFunction._given_up or not _never_waits(self._function, sample):
            return self._function
        stream = torch.cuda.current_stream(x.device)
        try:
            with (
                torch.cuda.device(x.device),
                # An outer autocast may cache cast weights, which torch refuses here.
                torch.autocast(x.device.type, enabled=False, cache_enabled=False),
                warnings.catch_warnings(),
            ):
                # Recording uses its own stream, and torch warns about that.
                warnings.simplefilter("ignore", UserWarning)
                recorded = torch.cuda.make_graphed_callables(
                    self._function, (sample,), pool=self._memory[with_gradient]
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            torch.cuda.set_stream(stream)
            RecordedFunction._given_up = True
            return self._function
        made = cast(Function, recorded)
        # These images differ from the recorded ones, so equal results mean that they are read.
        return made if _alike(made, self._function, 1 - x, with_gradient) else self._function


def filled(count: int, sizes: tuple[int, ...] = _SIZES) -> int:
    """Return the batch size to which a number of images is padded."""
    if not count:
        return 0
    for size in sizes:
        if count <= size:
            return size
    return -(-count // _STEP) * _STEP


def unfilled(most: int) -> int:
    """Return the largest batch size up to `most` that needs no padding."""
    if most >= _SIZES[-1]:
        return most // _STEP * _STEP
    return max((size for size in _SIZES if size <= most), default=max(1, most))


def _never_waits(function: Function, x: Tensor) -> bool:
    """Return whether the function never waits for its own results."""
    try:
        with _waiting_refused():
            function(x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return False
    return True


@contextmanager
def _waiting_refused() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _alike(one: Function, other: Function, x: Tensor, with_gradient: bool) -> bool:
    """Return whether two functions have equal results and gradients for some images."""
    found = []
    for function in (one, other):
        point = x.clone().requires_grad_(with_gradient)
        result = function(point)
        value = result.detach().float()
        given = [value.clone()]
        if with_gradient:
            given += torch.autograd.grad(result, point, value.to(result.dtype))
        found.append([part.clone() for part in given])
    return all(
        float((left - right).norm()) <= _ALLOWED_ERROR * float(right.norm())
        for left, right in zip(*found, strict=True)
    )
