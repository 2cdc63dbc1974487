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

Pull = Callable[[Tensor], Tensor]
"""The gradient to logits (N, K) to the gradient to pixels (N, C, H, W)."""

Differentiable = Callable[[Tensor], tuple[Tensor, Pull]]
"""Pixels to float32 logits, and the way back from there."""

_RESULTS = (
    "candidates", "found", "broken", "steps", "forwards", "gradients", "unconfirmed", "closest"
)  # fmt: skip

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Victim:
    """A model under attack, as the searches see it.

    Attributes
    ----------
    exact : callable
        The model itself in float32: what decides whether an example is broken.
    quick : callable
        The same function, computed as cheaply as the device can, with errors of its arithmetic;
        for directions.
    steady : callable
        The same function to float32 rounding, without gradients; for comparisons.
    copied : GraphModule, optional
        The folded copy that `steady` is, where there is one.
    explicit : callable, optional
        `quick` with gradients that need no autograd, where there is such a way.
    blur : float
        About how far `quick` may be off in a difference of two logits.
    sharp : Victim, optional
        The same model with `quick` in float32, where it is not that already.
    """

    exact: Predict
    quick: Predict
    steady: Predict
    copied: fx.GraphModule | None = None
    explicit: Differentiable | None = None
    blur: float = 0.0
    sharp: Victim | None = None

    def differentiable(self, x: Tensor) -> tuple[Tensor, Pull]:
        """Return the logits of `quick` and the way back to the pixels, contiguous like them.

        The way back is to be taken before the victim is asked again.
        """
        if self.explicit is not None:
            logits, pull = self.explicit(x)
            return logits, lambda gradient: pull(gradient).contiguous()
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.quick(point)
        return logits.detach(), lambda gradient: torch.autograd.grad(logits, point, gradient)[0]


@dataclass
class Hunt:
    """The examples of one batch under one search: who is broken, by what, after how much work.

    With several attempts, such as one for each target class, every example comes as many times:
    N rows are the attempts one after another, each on all examples. An example that one of them
    breaks leaves all of them.

    Attributes
    ----------
    victim : Victim
    x : Tensor of float32, shape (N, C, H, W)
        Given once for each example.
    y : Tensor of int64, shape (N,)
        Likewise.
    radius : float
    attempts : int
    lower, upper : Tensor of float32, shape (N, C, H, W)
        The ends of each pixel's interval: the ball, cut to [0, 1].
    candidates : Tensor of float32, shape (N, C, H, W)
        The adversarial example where one was found, the image itself elsewhere.
    found : Tensor of bool, shape (N,)
        Where one was found.
    broken : Tensor of bool, shape (N,)
        The same for each example, whichever attempt it was.
    steps, forwards, gradients : ndarray of int32, shape (N,)
        Iterations or queries, and passes through the model, spent on each example. Checks of a
        claim are not counted.
    unconfirmed : int
        Claims that the exact model did not repeat.
    closest : Tensor of float32, shape (N,)
        The smallest lead of the label's logit that a `quick` with a `sharp` besides saw within the
        ball; infinite where none did.
    relentless : bool
        Whether claims go unheard, so that every example gets every step.
    abandoned : bool
        Whether nobody waits for the end any more: the next step is an error.
    """

    victim: Victim
    x: Tensor
    y: Tensor
    radius: float
    attempts: int = 1
    lower: Tensor = field(init=False)
    upper: Tensor = field(init=False)
    candidates: Tensor = field(init=False)
    found: Tensor = field(init=False)
    broken: Tensor = field(init=False)
    closest: Tensor = field(init=False)
    steps: Counts = field(init=False)
    forwards: Counts = field(init=False)
    gradients: Counts = field(init=False)
    unconfirmed: int = 0
    relentless: bool = False
    abandoned: bool = False

    def __post_init__(self) -> None:
        self.x, self.y = self.x.repeat(self.attempts, 1, 1, 1), self.y.repeat(self.attempts)
        self.lower = (self.x - self.radius).clamp_(0, 1)
        self.upper = (self.x + self.radius).clamp_(0, 1)
        self.candidates = self.x.clone()
        self.found = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        self.broken = self.found.clone()
        self.closest = torch.full((len(self.x),), torch.inf, device=self.x.device)
        self.steps, self.forwards, self.gradients = np.zeros((3, len(self.x)), dtype=np.int32)

    def spend(
        self,
        rows: Tensor,
        *,
        steps: int | Counts = 0,
        forwards: int | Counts = 0,
        gradients: int | Counts = 0,
    ) -> None:
        """Note work on some examples, by their distinct rows: as much on each, or so much."""
        if self.abandoned:
            raise RuntimeError("the search was given up")
        where = rows.cpu().numpy()
        for counts, more in (
            (self.steps, steps),
            (self.forwards, forwards),
            (self.gradients, gradients),
        ):
            if np.any(more):
                counts[where] += more

    def judge(self, rows: Tensor, adversarial: Tensor, logits: Tensor) -> Tensor:
        """Claim what logits within the ball say, and note how close the others came.

        Parameters
        ----------
        rows : Tensor of int64, shape (M,)
            Distinct.
        adversarial : Tensor of float32, shape (M, C, H, W)
        logits : Tensor of float32, shape (M, K)
            Of `quick`.

        Returns
        -------
        Tensor of bool, shape (M,)
            As `claim` does.
        """
        y = self.y[rows]
        if self.victim.sharp is not None:
            self.closest[rows] = torch.minimum(self.closest[rows], lead(logits, y))
        return self.claim(rows, adversarial, logits.argmax(dim=1) != y)

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
            Whose examples are broken now; the others may go on.
        """
        claimed = wrong.nonzero()[:, 0]
        if len(claimed) and not self.relentless:
            images = adversarial[claimed]
            hits = self.victim.exact(images).argmax(dim=1) != self.y[rows[claimed]]
            hit = rows[claimed[hits]]
            self.candidates[hit] = images[hits]
            self.found[hit] = True
            self.broken.view(self.attempts, -1)[:, hit % (len(self.x) // self.attempts)] = True
            self.unconfirmed += len(hits) - int(hits.sum())
        return self.broken[rows]

    def of_examples(self) -> Hunt:
        """Return the hunt with its attempts taken together, each example once.

        Of several adversarial examples that were found in the same step, it is the first
        attempt's; work is that of all attempts.
        """
        if self.attempts == 1:
            return self
        count = len(self.x) // self.attempts
        whole = Hunt(self.victim, self.x[:count], self.y[:count], self.radius)
        first = self.found.view(self.attempts, count).int().argmax(dim=0)
        rows = first * count + torch.arange(count, device=first.device)
        whole.candidates, whole.found = self.candidates[rows], self.found[rows]
        whole.broken, whole.unconfirmed = self.broken[:count], self.unconfirmed
        whole.closest = self.closest.view(self.attempts, count).amin(dim=0)
        whole.steps, whole.forwards, whole.gradients = (
            counts.reshape(self.attempts, count).sum(axis=0, dtype=np.int32)
            for counts in (self.steps, self.forwards, self.gradients)
        )
        return whole

    def results(self) -> dict[str, Any]:
        """Return all that a search fills in, in arrays: what another process can be told."""
        return {
            name: value.numpy() if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
            if name in _RESULTS
        }

    def take(self, results: dict[str, Any]) -> None:
        """Fill in what `results` returned."""
        for name, value in results.items():
            tensor = isinstance(getattr(self, name), Tensor)
            setattr(self, name, torch.from_numpy(value) if tensor else value)


def lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the label's logit exceeds the largest other one."""
    others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return logits.gather(1, y[:, None])[:, 0] - others


def rows_of(hunt: Hunt) -> Tensor:
    """Return the rows of all examples of a hunt."""
    return torch.arange(len(hunt.x), device=hunt.x.device)
