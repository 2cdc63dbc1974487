"""The examples of one batch under one attack: which are broken, and what was spent on each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from datacurate.attacks.attacked_model import AttackedModel

Counts = npt.NDArray[np.int32]

_RESULTS = (
    "candidates", "succeeded", "broken", "steps", "forwards", "gradients", "unconfirmed",
    "smallest_margin",
)  # fmt: skip


@dataclass
class AttackBatch:
    """The state of one attack on one batch of examples.

    A targeted attack can make several runs at once, one for each target class. Every example then
    has one row for each run: first all examples of the first run, then all of the second, and so
    on. An example that one run breaks leaves all runs.

    Attributes
    ----------
    model : AttackedModel
    x : Tensor of float32, shape (N, C, H, W)
        Pass each example once; the batch repeats them for its runs.
    y : Tensor of int64, shape (N,)
        Likewise.
    radius : float
        Of the ℓ∞ ball, in pixel units.
    runs : int
        Runs of the attack in this batch; N is `runs` times the number of examples.
    lower, upper : Tensor of float32, shape (N, C, H, W)
        Bounds of each pixel: the ball, clipped to [0, 1].
    candidates : Tensor of float32, shape (N, C, H, W)
        The adversarial example of each row that has one, the image itself elsewhere.
    succeeded : Tensor of bool, shape (N,)
        Whether the row's own run found an adversarial example.
    broken : Tensor of bool, shape (N,)
        Whether any run broke the row's example.
    steps, forwards, gradients : ndarray of int32, shape (N,)
        Iterations or queries, forward passes and gradients spent on each row. Confirmations are
        not counted.
    unconfirmed : int
        Candidates that the exact model classifies correctly.
    smallest_margin : Tensor of float32, shape (N,)
        Smallest margin within the ball that `search_logits` gave in a lower precision; infinite
        where they are float32.
    ignore_success : bool
        Never mark an example as broken, so that every example gets every step.
    cancelled : bool
        Set when another part of the batch failed; the next `count_work` raises.
    """

    model: AttackedModel
    x: Tensor
    y: Tensor
    radius: float
    runs: int = 1
    lower: Tensor = field(init=False)
    upper: Tensor = field(init=False)
    candidates: Tensor = field(init=False)
    succeeded: Tensor = field(init=False)
    broken: Tensor = field(init=False)
    smallest_margin: Tensor = field(init=False)
    steps: Counts = field(init=False)
    forwards: Counts = field(init=False)
    gradients: Counts = field(init=False)
    unconfirmed: int = 0
    ignore_success: bool = False
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.x, self.y = self.x.repeat(self.runs, 1, 1, 1), self.y.repeat(self.runs)
        self.lower = (self.x - self.radius).clamp_(0, 1)
        self.upper = (self.x + self.radius).clamp_(0, 1)
        self.candidates = self.x.clone()
        self.succeeded = torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        self.broken = self.succeeded.clone()
        self.smallest_margin = torch.full((len(self.x),), torch.inf, device=self.x.device)
        self.steps, self.forwards, self.gradients = np.zeros((3, len(self.x)), dtype=np.int32)

    @property
    def examples(self) -> int:
        """Number of examples, each counted once."""
        return len(self.x) // self.runs

    def all_rows(self) -> Tensor:
        """Return the indices of all rows, int64 of shape (N,)."""
        return torch.arange(len(self.x), device=self.x.device)

    def unbroken_rows(self) -> Tensor:
        """Return the indices of the rows whose example is not broken, int64 of shape (M,)."""
        return self.all_rows()[~self.broken]

    def count_work(
        self,
        rows: Tensor,
        *,
        steps: int | Counts = 0,
        forwards: int | Counts = 0,
        gradients: int | Counts = 0,
    ) -> None:
        """Add to the work counts of some rows.

        Parameters
        ----------
        rows : Tensor of int64, shape (M,)
            Distinct.
        steps, forwards, gradients : int or ndarray of int32, shape (M,)
            The same number for each row, or one number a row.

        Raises
        ------
        RuntimeError
            If the batch was cancelled.
        """
        if self.cancelled:
            raise RuntimeError("the attack on this batch was cancelled")
        where = rows.cpu().numpy()
        for counts, more in (
            (self.steps, steps),
            (self.forwards, forwards),
            (self.gradients, gradients),
        ):
            if np.any(more):
                counts[where] += more

    def check(self, rows: Tensor, adversarial: Tensor, logits: Tensor) -> Tensor:
        """Record the margins of points within the ball, and confirm the misclassified ones.

        Parameters
        ----------
        rows : Tensor of int64, shape (M,)
            Distinct.
        adversarial : Tensor of float32, shape (M, C, H, W)
            Within the ball.
        logits : Tensor of float32, shape (M, K)
            The `search_logits` of these points.

        Returns
        -------
        Tensor of bool, shape (M,)
            Whether the example of each row is broken now; see `confirm`.
        """
        y = self.y[rows]
        if self.model.float32 is not None:
            smallest = torch.minimum(self.smallest_margin[rows], margin(logits, y))
            self.smallest_margin[rows] = smallest
        return self.confirm(rows, adversarial, logits.argmax(dim=1) != y)

    def confirm(self, rows: Tensor, adversarial: Tensor, misclassified: Tensor) -> Tensor:
        """Ask the exact model about points that the search believes to be misclassified.

        Parameters
        ----------
        rows : Tensor of int64, shape (M,)
            Distinct.
        adversarial : Tensor of float32, shape (M, C, H, W)
            Within the ball.
        misclassified : Tensor of bool, shape (M,)
            Which of the points the search believes to be misclassified.

        Returns
        -------
        Tensor of bool, shape (M,)
            Whether the example of each row is broken now. The search of the others goes on.
        """
        believed = misclassified.nonzero()[:, 0]
        if len(believed) and not self.ignore_success:
            images = adversarial[believed]
            hits = self.model.exact_logits(images).argmax(dim=1) != self.y[rows[believed]]
            hit = rows[believed[hits]]
            self.candidates[hit] = images[hits]
            self.succeeded[hit] = True
            self.broken.view(self.runs, -1)[:, hit % self.examples] = True
            self.unconfirmed += len(hits) - int(hits.sum())
        return self.broken[rows]

    def per_example(self) -> AttackBatch:
        """Return the batch with its runs merged, one row an example.

        If several runs found an adversarial example in the same step, the first run's is taken.
        The work of all runs is added.
        """
        if self.runs == 1:
            return self
        count = self.examples
        merged = AttackBatch(self.model, self.x[:count], self.y[:count], self.radius)
        first = self.succeeded.view(self.runs, count).int().argmax(dim=0)
        rows = first * count + torch.arange(count, device=first.device)
        merged.candidates, merged.succeeded = self.candidates[rows], self.succeeded[rows]
        merged.broken, merged.unconfirmed = self.broken[:count], self.unconfirmed
        merged.smallest_margin = self.smallest_margin.view(self.runs, count).amin(dim=0)
        merged.steps, merged.forwards, merged.gradients = (
            counts.reshape(self.runs, count).sum(axis=0, dtype=np.int32)
            for counts in (self.steps, self.forwards, self.gradients)
        )
        return merged

    def results(self) -> dict[str, Any]:
        """Return everything that an attack fills in, as arrays that another process can receive."""
        return {
            name: value.numpy() if isinstance(value, Tensor) else value
            for name, value in vars(self).items()
            if name in _RESULTS
        }

    def set_results(self, results: dict[str, Any]) -> None:
        """Fill in what `results` returned in another process."""
        for name, value in results.items():
            is_tensor = isinstance(getattr(self, name), Tensor)
            setattr(self, name, torch.from_numpy(value) if is_tensor else value)


@dataclass
class RowState:
    """Base of the tensors that an attack keeps for the rows that are not broken.

    Attributes
    ----------
    rows : Tensor of int64, shape (M,)
        Their indices in the batch. Every other field has M rows too.
    """

    rows: Tensor

    def keep(self, remaining: Tensor) -> None:
        """Drop all rows but those where a mask, bool of shape (M,), is true."""
        if remaining.all():
            return
        for tensor in fields(self):
            setattr(self, tensor.name, getattr(self, tensor.name)[remaining])


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the label's logit exceeds the largest other logit, shape (N,)."""
    others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return logits.gather(1, y[:, None])[:, 0] - others
