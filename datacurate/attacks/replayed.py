"""A network's passes on CUDA, recorded once and replayed.

A pass through a small network, or one of few images, is over before Python has asked for its
kernels. A recording of them is asked for at once; the kernels are the same, and so are the results.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import cast

import torch
from torch import Tensor

_SIZES = (16, 32, 64, 128, 256)  # batches are filled up to one of them, then to a multiple of 256


class Replayed:
    """A function of images that gives the same as another, sooner.

    There is a recording for each size of batch, with a gradient and without. The gradient of a pass
    is to be asked for before the next pass that has one. A function that cannot be recorded, as it
    looks at its own results, is called as it is.

    Parameters
    ----------
    function : callable
        Images of shape (N, C, H, W) to results of shape (N, K), each image's its own. It reads
        weights where they are: they may change between calls, but may not move.
    sizes : sequence of int, optional
        To which batches are filled up; by default few that serve all.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], sizes: tuple[int, ...] = _SIZES
    ) -> None:
        self._function = function
        self._sizes = sizes
        self._recorded: dict[Hashable, Callable[[Tensor], Tensor]] = {}
        # Recordings that share memory overwrite what a pass has left for its gradient.
        self._memory = {wanted: torch.cuda.graph_pool_handle() for wanted in (False, True)}

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the function gives, with a gradient to `x` if it requires one."""
        if not len(x):
            return self._function(x)
        with_gradient = torch.is_grad_enabled() and x.requires_grad
        missing = _filled(len(x), self._sizes) - len(x)
        whole = torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x.clone()
        if with_gradient:
            # The recording's own memory is written again by the next call.
            whole.register_hook(torch.clone)  # type: ignore[no-untyped-call]
        key = whole.shape, with_gradient
        if key not in self._recorded:
            self._recorded[key] = self._record(whole.detach(), with_gradient)
        return self._recorded[key](whole)[: len(x)].clone()

    def _record(self, x: Tensor, with_gradient: bool) -> Callable[[Tensor], Tensor]:
        sample = x.contiguous().clone().requires_grad_(with_gradient)
        try:
            # Weights in another type, kept by an autocast around, would be those of this moment.
            with (
                torch.cuda.device(x.device),
                torch.autocast(x.device.type, enabled=False),
                warnings.catch_warnings(),
            ):
                # Recording goes on in a stream of its own, of which torch warns.
                warnings.simplefilter("ignore", UserWarning)
                recorded = torch.cuda.make_graphed_callables(
                    self._function, (sample,), pool=self._memory[with_gradient]
                )
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            return self._function
        return cast(Callable[[Tensor], Tensor], recorded)


def _filled(count: int, sizes: tuple[int, ...]) -> int:
    """Return the size of the batch that so many images are filled up to."""
    for size in sizes:
        if count <= size:
            return size
    return -(-count // sizes[-1]) * sizes[-1]
