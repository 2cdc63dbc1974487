"""RayS: search for the nearest boundary along rays of signs, from labels alone.

Chen and Gu, "RayS: a ray searching method for hard-label adversarial attack"
(https://arxiv.org/abs/2006.12792), algorithms 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch, RowState

_TOLERANCE = 1e-3  # radius interval at which a binary search ends, as in the paper's experiments


def rays_attack(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run RayS once on every example of a batch; `arguments.steps` is the number of queries.

    A direction is a sign for every value of the image; all are positive at first. The attack flips
    one block of signs after another and halves the blocks after each sweep. It keeps a flip if the
    image is still misclassified at the smallest radius so far; a binary search then finds the new
    radius. Every example asks for one label at a time and leaves once its radius is within the
    ball. Nothing is random.
    """
    state = _begin(batch)
    for _ in range(arguments.steps):
        if not len(state.rows):
            return
        directions = state.next_directions()
        lengths = state.next_lengths()
        images = (state.x + lengths[:, None] * directions).clamp_(0, 1)
        images = images.view(-1, *batch.x.shape[1:])
        wrong = batch.model.float32_logits(images).argmax(dim=1) != state.y
        batch.count_work(state.rows, steps=1, forwards=1)
        state.update(directions, lengths, wrong)
        within_ball = wrong & (lengths <= batch.radius)
        broken = batch.confirm(state.rows, images, within_ball)
        if broken.any():
            state.keep(~broken)


@dataclass
class _State(RowState):
    """What RayS remembers of each example that is not broken.

    Attributes
    ----------
    rows : Tensor of int64, shape (M,)
        Their rows in the batch.
    x : Tensor of float32, shape (M, D)
        The flattened images.
    y : Tensor of int64, shape (M,)
    signs : Tensor of float32, shape (M, D)
        The best direction so far.
    radius : Tensor of float32, shape (M,)
        The smallest radius at which a direction is misclassified; infinite at first.
    low, high : Tensor of float32, shape (M,)
        The interval of a binary search.
    searching : Tensor of bool, shape (M,)
        Whether a binary search is under way.
    level : Tensor of int64, shape (M,)
        A sweep flips 2^level blocks.
    block : Tensor of int64, shape (M,)
        The block that is flipped next.
    """

    x: Tensor
    y: Tensor
    signs: Tensor
    radius: Tensor
    low: Tensor
    high: Tensor
    searching: Tensor
    level: Tensor
    block: Tensor

    def next_directions(self) -> Tensor:
        """Return the best signs with one block flipped, shape (M, D)."""
        positions = torch.arange(self.x.shape[1], device=self.x.device)
        blocks = torch.div(positions, self._block_sizes()[:, None], rounding_mode="floor")
        return torch.where(blocks == self.block[:, None], -self.signs, self.signs)

    def next_lengths(self) -> Tensor:
        """Return how far along its direction each example is tried next, shape (M,)."""
        # A length of 1 takes every value to an end of the pixel range.
        return torch.where(self.searching, (self.low + self.high) / 2, self.radius.clamp(max=1))

    def update(self, directions: Tensor, lengths: Tensor, wrong: Tensor) -> None:
        """Go on after a query: narrow or start a binary search, or take the next block."""
        low = torch.where(self.searching & ~wrong, lengths, self.low)
        high = torch.where(self.searching & wrong, lengths, self.high)
        starting = ~self.searching & wrong
        self.low = torch.where(starting, 0, low)
        self.high = torch.where(starting, lengths, high)
        ended = self.searching & (self.high - self.low <= _TOLERANCE)
        improved = ended & (self.high < self.radius)
        self.radius = torch.where(improved, self.high, self.radius)
        self.signs = torch.where(improved[:, None], directions, self.signs)
        block_done = ended | (~self.searching & ~wrong)
        self.searching = (self.searching | starting) & ~ended
        block = self.block + block_done
        size = self.x.shape[1]
        swept = block * self._block_sizes() >= size
        self.level = torch.where(swept & (2**self.level < size), self.level + 1, self.level)
        self.block = torch.where(swept, 0, block)

    def _block_sizes(self) -> Tensor:
        blocks = 2**self.level
        return (self.x.shape[1] + blocks - 1) // blocks


def _begin(batch: AttackBatch) -> _State:
    rows = batch.unbroken_rows()
    x = batch.x[rows].flatten(1)
    radius = torch.full((len(rows),), torch.inf, device=x.device)
    return _State(
        rows=rows,
        x=x,
        y=batch.y[rows],
        signs=torch.ones_like(x),
        radius=radius,
        low=torch.zeros_like(radius),
        high=torch.ones_like(radius),
        searching=torch.zeros_like(radius, dtype=torch.bool),
        level=torch.zeros_like(rows),
        block=torch.zeros_like(rows),
    )
