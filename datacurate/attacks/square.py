"""Square: random search that asks the model for nothing but its logits.

Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
search" (https://arxiv.org/abs/1912.00049), ℓ∞ version with the margin loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from datacurate.attacks.attack_batch import AttackBatch, Counts, margin
from datacurate.attacks.attacked_model import Predict
from datacurate.attacks.noise import keyed_uniform
from datacurate.fingerprints import U64

_FIRST_SHARE = 0.8  # of the image's pixels in the first squares
_WASTE = 0.5  # squares kept, on average, among those that an image is asked about at a time
_RAREST = 0.005  # share of squares kept below which nobody is asked about more at a time
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which it halves


class Trials(Protocol):
    """Logits of images that differ from kept ones in a window of pixels."""

    def start(self, images: Tensor) -> Tensor:
        """Keep images of shape (N, C, H, W); return their logits."""

    def attempt(self, rows: Tensor, tops: Tensor, lefts: Tensor, windows: Tensor) -> Tensor:
        """Return logits of kept images with a window each replaced, of (B, side, side, C).

        An image may come several times.
        """

    def accept(self, which: Tensor) -> None:
        """Replace the windows of some tries of the last attempt, of an image one at the most."""

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""


class WholeTrials:
    """The plain way: a whole pass for every try."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def start(self, images: Tensor) -> Tensor:
        """Keep images of shape (N, C, H, W); return their logits."""
        self._images = images.permute(0, 2, 3, 1).contiguous()
        return self._predict(images)

    def attempt(self, rows: Tensor, tops: Tensor, lefts: Tensor, windows: Tensor) -> Tensor:
        """Return logits of kept images with a window each replaced, of (B, side, side, C)."""
        tried = self._images[rows]
        each = torch.arange(len(rows), device=rows.device)
        tried[window_of(each, tops, lefts, windows.shape[1])] = windows
        self._rows, self._tried = rows, tried
        return self._predict(tried.permute(0, 3, 1, 2))

    def accept(self, which: Tensor) -> None:
        """Replace the windows of some tries of the last attempt, of an image one at the most."""
        self._images[self._rows[which]] = self._tried[which]

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""
        self._images = self._images[rows]


def window_of(
    rows: Tensor, tops: Tensor, lefts: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the index of a window in each of some images, channels last."""
    along = torch.arange(size, device=rows.device)
    down, across = tops[:, None] + along, lefts[:, None] + along
    return rows[:, None, None], down[:, :, None], across[:, None, :]


def side(query: int, height: int, width: int) -> int:
    """Return the side of the square of a query, counted from 0."""
    share = _FIRST_SHARE / 2 ** sum(query > end for end in _HALVINGS)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


@dataclass(frozen=True)
class Squares:
    """One sequence of squares, which all images are asked about.

    Attributes
    ----------
    sizes, tops, lefts : Tensor of int64, shape (Q,)
    bright : Tensor of bool, shape (Q, C)
        Which end of its interval a pixel goes to.
    """

    sizes: Tensor
    tops: Tensor
    lefts: Tensor
    bright: Tensor

    @classmethod
    def drawn(cls, chance: int, queries: int, shape: torch.Size, device: torch.device) -> Squares:
        """Return as many squares as there are queries, for images of a shape (N, C, H, W)."""
        channels, height, width = shape[1:]
        generator = torch.Generator().manual_seed(chance)
        dice = torch.rand(queries, 2 + channels, generator=generator)
        sizes = torch.tensor([side(query, height, width) for query in range(queries)])
        tops, lefts = (
            (dice[:, axis] * (length - sizes + 1)).long()
            for axis, length in enumerate((height, width))
        )
        tensors = (sizes.long(), tops, lefts, dice[:, 2:] >= 0.5)
        return cls(*(tensor.to(device) for tensor in tensors))


def square(
    batch: AttackBatch, trials: Trials, keys: U64, chance: int, *, queries: int, tries: int = 1
) -> None:
    """Run Square once on every example of a batch.

    It starts from vertical stripes. Each query paints one square of the image, in every channel
    with one end of the pixel's interval, and keeps it if the label's margin shrinks. The stripes
    belong to the example; the squares are one sequence for all. A square that the image has
    already is a query whose answer is known, and counts as no pass.

    Few images are asked about their next few squares in one pass, as if none of them were kept:
    most are not. Of each image the answers count up to its first square that is kept; those after
    it are asked for again, of the new image, and only then counted.

    Parameters
    ----------
    batch : AttackBatch
    trials : Trials
    keys : ndarray of uint64, shape (N,)
    chance : int
        Seed of stripes and squares.
    queries : int
        After the start.
    tries : int
        How many queries may share a pass, if there are fewer images.
    """
    rows = batch.unbroken_rows()
    count, channels, height, width = batch.x.shape
    stripes = keyed_uniform(chance, keys, channels * width).view(count, channels, 1, width) >= 0.5
    bright = stripes.to(batch.x.device)[rows]
    y = batch.y[rows]
    lower, upper = (ends[rows].permute(0, 2, 3, 1) for ends in (batch.lower, batch.upper))
    start = torch.where(bright, batch.upper[rows], batch.lower[rows])
    image = start.permute(0, 2, 3, 1).contiguous()
    smallest = margin(trials.start(start), y)
    batch.count_work(rows, forwards=1)
    squares = Squares.drawn(chance, queries, batch.x.shape, image.device)
    # Of each image, how many squares it has been asked about.
    asked = torch.zeros_like(rows)
    left = ~batch.confirm(rows, start, smallest <= 0)
    kept_share = 1.0
    while True:
        left &= asked < queries
        if not left.all():
            kept = left.nonzero()[:, 0]
            rows, y, lower, upper, image, smallest, asked, left = (
                tensor[kept] for tensor in (rows, y, lower, upper, image, smallest, asked, left)
            )
            trials.keep(kept)
        if not len(rows):
            return
        ahead = max(1, min(tries // len(rows), int(_WASTE / kept_share)))
        query = asked[:, None] + torch.arange(ahead, device=asked.device)
        due = (query < queries).flatten().nonzero()[:, 0]
        which, query = due // ahead, query.flatten()[due]
        # One side for all windows: the largest, moved into the image.
        size = int(squares.sizes[query].max())
        tops = squares.tops[query].clamp(max=height - size)
        lefts = squares.lefts[query].clamp(max=width - size)
        place = window_of(which, tops, lefts, size)
        ends = torch.where(squares.bright[query][:, None, None], upper[place], lower[place])
        inside = _inside(squares, query, place)
        window = torch.where(inside, ends, image[place])
        new = (window != image[place]).flatten(1).any(dim=1)
        better = torch.zeros_like(new)
        reached = smallest[which]
        if new.any():
            chosen = new.nonzero()[:, 0]
            reached[chosen] = margin(
                trials.attempt(which[chosen], tops[chosen], lefts[chosen], window[chosen]),
                y[which[chosen]],
            )
            better = new & ((reached < smallest[which]) | (reached <= 0))
        counts = _up_to_first(better, which, len(rows))
        batch.count_work(rows, steps=_per_image(counts, which, len(rows)))
        batch.count_work(rows, forwards=_per_image(counts & new, which, len(rows)))
        asked += torch.bincount(which[counts], minlength=len(rows))
        taken = counts & better
        share = float(taken.sum()) / float(counts.sum())
        kept_share = max(0.9 * kept_share + 0.1 * share, _RAREST)
        if not taken.any():
            continue
        trials.accept(taken[chosen].nonzero()[:, 0])
        moved = which[taken]
        smallest[moved] = reached[taken]
        image[window_of(moved, tops[taken], lefts[taken], size)] = window[taken]
        wrong = smallest[moved] <= 0
        if wrong.any():
            found = image[moved].permute(0, 3, 1, 2)
            left[moved] = ~batch.confirm(rows[moved], found, wrong)


def _inside(squares: Squares, query: Tensor, place: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return which pixels of windows belong to the squares in them, shape (B, side, side, 1)."""
    sizes, tops, lefts = (
        values[query][:, None, None] for values in (squares.sizes, squares.tops, squares.lefts)
    )
    _, down, across = place
    rows = (down >= tops) & (down < tops + sizes)
    return (rows & (across >= lefts) & (across < lefts + sizes))[..., None]


def _up_to_first(better: Tensor, which: Tensor, images: int) -> Tensor:
    """Return which tries, in the order of each image, come before or are its first better one."""
    number = torch.arange(len(better), device=better.device)
    first = torch.full((images,), len(better), device=better.device)
    first.scatter_reduce_(0, which[better], number[better], "amin")
    return number <= first[which]


def _per_image(tries: Tensor, which: Tensor, images: int) -> Counts:
    counts = torch.bincount(which[tries], minlength=images)
    return counts.cpu().numpy().astype(np.int32)
