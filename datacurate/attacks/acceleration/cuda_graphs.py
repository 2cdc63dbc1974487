"""A network's passes on CUDA, recorded once and replayed.

A pass through a small network, or one of few images, is over before Python has asked for its
kernels. A recording of them is asked for at once, and the kernels are the same.
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

_SIZES = (16, 32, 64, 128, 256)  # batches are filled up to one of them and recorded
_STEP = 128  # larger ones are filled up to a multiple, for kernels are chosen anew for every size
_SAME = 0.05  # relative difference of a recording: kernels may add in another order every time


class Replayed:
    """A function of images that gives the same as another, sooner.

    There is a recording for each size of batch, with a gradient and without; batches beyond the
    largest size keep a GPU busy as they are. The gradient of a pass is to be asked for before the
    next pass that has one. A function that waits for its own results cannot be recorded, and a
    recording that does not repeat the function is not used: the function is called instead.

    Parameters
    ----------
    function : callable
        Images of shape (N, C, H, W) to results of shape (N, K), each image's its own. It reads
        weights, which require no gradient, where they are: they may change between calls, but may
        not move.
    sizes : sequence of int, optional
        Of recorded batches, ascending; by default few that serve all.
    """

    _given_up: ClassVar[bool] = False  # torch may not recover from a recording that failed

    def __init__(self, function: Function, sizes: tuple[int, ...] = _SIZES) -> None:
        self._function = function
        self._sizes = sizes
        self._recorded: dict[Hashable, Function] = {}
        # Recordings that share memory overwrite what a pass has left for its gradient.
        self._memory = {wanted: torch.cuda.graph_pool_handle() for wanted in (False, True)}
        gc.collect()  # recordings are in reference cycles, and their memory is a GPU's

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the function gives, with a gradient to `x` if it requires one."""
        size = filled(len(x), self._sizes)
        whole = torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])]) if size > len(x) else x
        if not size or size > self._sizes[-1]:
            return self._function(whole)[: len(x)]
        with_gradient = torch.is_grad_enabled() and x.requires_grad
        key = whole.shape, with_gradient
        if key not in self._recorded:
            self._recorded[key] = self._record(whole.detach(), with_gradient)
        if with_gradient:
            # The recording's own memory is written again by the next call.
            whole = whole.clone()
            whole.register_hook(torch.clone)  # type: ignore[no-untyped-call]
        return self._recorded[key](whole)[: len(x)].clone()

    def _record(self, x: Tensor, with_gradient: bool) -> Function:
        sample = x.contiguous().clone().requires_grad_(with_gradient)
        if Replayed._given_up or not _never_waits(self._function, sample):
            return self._function
        stream = torch.cuda.current_stream(x.device)
        try:
            with (
                torch.cuda.device(x.device),
                # Around it there may be one that keeps weights it has cast, which torch refuses.
                torch.autocast(x.device.type, enabled=False, cache_enabled=False),
                warnings.catch_warnings(),
            ):
                # Recording goes on in a stream of its own, of which torch warns.
                warnings.simplefilter("ignore", UserWarning)
                recorded = torch.cuda.make_graphed_callables(
                    self._function, (sample,), pool=self._memory[with_gradient]
                )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            torch.cuda.set_stream(stream)
            Replayed._given_up = True
            return self._function
        made = cast(Function, recorded)
        # Other images than it was recorded with: they must have been looked at.
        return made if _alike(made, self._function, 1 - x, with_gradient) else self._function


def filled(count: int, sizes: tuple[int, ...] = _SIZES) -> int:
    """Return the size of the batch that so many images are filled up to."""
    if not count:
        return 0
    for size in sizes:
        if count <= size:
            return size
    return -(-count // _STEP) * _STEP


def unfilled(most: int) -> int:
    """Return the largest batch, of so many images at the most, to which none are added."""
    if most >= _SIZES[-1]:
        return most // _STEP * _STEP
    return max((size for size in _SIZES if size <= most), default=max(1, most))


def _never_waits(function: Function, x: Tensor) -> bool:
    """Return whether Python needs no result of the function to go on with it."""
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
    """Return whether two functions give the same of some images, and the same gradient."""
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
        float((left - right).norm()) <= _SAME * float(right.norm())
        for left, right in zip(*found, strict=True)
    )
