"""What a search found for each example, and what it spent on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx

Predict = Callable[[Tensor], Tensor]
"""Pixels (N, C, H, W) in [0, 1] to float32 logits (N, K)."""

_FOUND = ("candidates", "broken", "steps", "forwards", "gradients", "unconfirmed")

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Victim:
    """A model under attack, as the searches see it.

    Attributes
    ----------
    exact : callable
        The model itself in float32: what decides whether an example is broken.
    quick : callable
        The same function, differentiable and computed as cheaply as the device can, with errors
        of its arithmetic; for directions.
    steady : callable
        The same function to float32 rounding, without gradients; for comparisons.
    copied : GraphModule, optional
        The folded copy that `steady` is, where there is one.
    """

    exact: Predict
    quick: Predict
    steady: Predict
    copied: fx.GraphModule | None = None


@dataclass
class Hunt:
    """The examples of one batch under one search: who is broken, by what, after how much work.

    Attributes
    ----------
    victim : Victim
    x : Tensor of float32, shape (N, C, H, W)
    y : Tensor of int64, shape (N,)
    lower, upper : Tensor of float32, shape (N, C, H, W)
        The ends of each pixel's interval: the ball, cut to [0, 1].
    candidates : Tensor of float32, shape (N, C, H, W)
        The adversarial example of those that are broken, the image itself for the others.
    broken : Tensor of bool, shape (N,)
    steps, forwards, gradients : ndarray of int32, shape (N,)
        Iterations or queries, and passes through the model, spent on each example. Checks of a
        claim are not counted.
    unconfirmed : int
        Claims that the exact model did not repeat.
    relentless : bool
        Whether claims go unheard, so that every example gets every step.
    abandoned : bool
        Whether nobody waits for the end any more: the next step is an error.
    """

    victim: Victim
    x: Tensor
    y: Tensor
    radius: float
    lower: Tensor = field(init=False)
    upper: Tensor = field(init=False)
    candidates: Tensor = field(init=False)
    broken: Tensor = field(init=False)
    steps: Counts = field(init=False)
    forwards: Counts = field(init=False)
    gradients: Counts = field(init=False)
    unconfirmed: int = 0
    relentless: bool = False
    abandoned: bool = False

    def __post_init__(self) -> None:
        self.lower = (self.x - self.radius).clamp_(0, 1)
        self.upper = (self.x + self.radius).clamp_(0, 1)
        self.candidates = self.x.clone()
        self.broken = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        self.steps, self.forwards, self.gradients = np.zeros((3, len(self.x)), dtype=np.int32)

    def spend(self, rows: Tensor, *, steps: int = 0, forwards: int = 0, gradients: int = 0) -> None:
        """Note work on some examples, by their rows."""
        if self.abandoned:
            raise RuntimeError("the search was given up")
        where = rows.cpu().numpy()
        for counts, more in (
            (self.steps, steps),
            (self.forwards, forwards),
            (self.gradients, gradients),
        ):
            if more:
                counts[where] += more

    def claim(self, rows: Tensor, adversarial: Tensor, wrong: Tensor) -> Tensor:
        """Let the exact model decide about claims.

        Parameters
        ----------
        rows : Tensor of int64, shape (M,)
            Distinct.
        adversarial : Tensor of float32, shape (M, C, H, W)
        wrong : Tensor of bool, shape (M,)
            Which of them are claimed to be misclassified.

        Returns
        -------
        Tensor of bool, shape (M,)
            Those that are; the others may go on.
        """
        confirmed = torch.zeros_like(wrong)
        claimed = wrong.nonzero()[:, 0]
        if len(claimed) and not self.relentless:
            images = adversarial[claimed]
            hits = self.victim.exact(images).argmax(dim=1) != self.y[rows[claimed]]
            confirmed[claimed] = hits
            self.candidates[rows[claimed[hits]]] = images[hits]
            self.broken[rows[claimed[hits]]] = True
            self.unconfirmed += len(hits) - int(hits.sum())
        return confirmed

    def found(self) -> dict[str, Any]:
        """Return all that a search fills in, in arrays: what another process can be told."""
        return {
            name: value.numpy() if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
            if name in _FOUND
        }

    def take(self, found: dict[str, Any]) -> None:
        """Fill in what `found` returned."""
        for name, value in found.items():
            tensor = isinstance(getattr(self, name), Tensor)
            setattr(self, name, torch.from_numpy(value) if tensor else value)


def rows_of(hunt: Hunt) -> Tensor:
    """Return the rows of all examples of a hunt."""
    return torch.arange(len(hunt.x), device=hunt.x.device)
