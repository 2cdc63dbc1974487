"""Square: random search that asks the model for nothing but its logits.

Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
search" (https://arxiv.org/abs/1912.00049), ℓ∞ version with the margin loss.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from datacurate.attacks.budget import Hunt, Predict, rows_of
from datacurate.attacks.noise import keyed_uniform
from datacurate.fingerprints import U64

_FIRST_SHARE = 0.8  # of the image's pixels in the first squares
_MOST = 0.7  # share of new squares from which all images are asked about
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which it halves


class Trials(Protocol):
    """Logits of images that differ from kept ones in a window."""

    def start(self, images: Tensor) -> Tensor:
        """Keep images; return their logits."""

    def attempt(self, rows: Tensor, top: int, left: int, window: Tensor) -> Tensor:
        """Return logits of some kept images with a window of pixels replaced."""

    def accept(self, which: Tensor) -> None:
        """Replace the window of some rows of the last attempt, by a mask over them."""

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""


class WholeTrials:
    """The plain way: a whole pass for every attempt."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def start(self, images: Tensor) -> Tensor:
        """Keep images; return their logits."""
        self._images = images.clone()
        return self._predict(images)

    def attempt(self, rows: Tensor, top: int, left: int, window: Tensor) -> Tensor:
        """Return logits of some kept images with a window of pixels replaced."""
        size = window.shape[2]
        tried = self._images[rows]
        tried[:, :, top : top + size, left : left + size] = window
        self._rows, self._tried = rows, tried
        return self._predict(tried)

    def accept(self, which: Tensor) -> None:
        """Replace the window of some rows of the last attempt, by a mask over them."""
        self._images[self._rows[which]] = self._tried[which]

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""
        self._images = self._images[rows]


def side(query: int, height: int, width: int) -> int:
    """Return the side of the square of a query, counted from 0."""
    share = _FIRST_SHARE / 2 ** sum(query > end for end in _HALVINGS)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the label's logit exceeds the largest other one."""
    others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return logits.gather(1, y[:, None])[:, 0] - others


def square(hunt: Hunt, trials: Trials, keys: U64, chance: int, *, queries: int) -> None:
    """Run Square once on every example of a hunt.

    It starts from vertical stripes. Each query paints one square of the image, in every channel
    with one end of the pixel's interval, and keeps it if the label's lead shrinks. The stripes
    belong to the example; the squares are one sequence for all. A square that the image has
    already is a query whose answer is known, and counts as no pass; where only few have it, theirs
    is made with the others', for kernels are fastest on as many images as before.

    Parameters
    ----------
    hunt : Hunt
    trials : Trials
    keys : ndarray of uint64, shape (N,)
    chance : int
        Seed of stripes and squares.
    queries : int
        After the start.
    """
    rows = rows_of(hunt)[~hunt.broken]
    count, channels, height, width = hunt.x.shape
    stripes = keyed_uniform(chance, keys, channels * width).view(count, channels, 1, width) >= 0.5
    bright = stripes.to(hunt.x.device)[rows]
    y, lower, upper = hunt.y[rows], hunt.lower[rows], hunt.upper[rows]
    image = torch.where(bright, upper, lower)
    smallest = lead(trials.start(image), y)
    hunt.spend(rows, forwards=1)
    generator = torch.Generator().manual_seed(chance)
    dice = torch.rand(queries, 2 + channels, generator=generator)
    left_over = ~hunt.claim(rows, image, smallest <= 0)
    for query in range(queries):
        if not left_over.all():
            kept = left_over.nonzero()[:, 0]
            rows, y, lower, upper = rows[kept], y[kept], lower[kept], upper[kept]
            image, smallest = image[kept], smallest[kept]
            trials.keep(kept)
            left_over = left_over[kept]
        if not len(rows):
            return
        size = side(query, height, width)
        top = int(dice[query, 0] * (height - size + 1))
        left = int(dice[query, 1] * (width - size + 1))
        place = (slice(None), slice(None), slice(top, top + size), slice(left, left + size))
        up = (dice[query, 2:] >= 0.5).view(1, channels, 1, 1).to(image.device)
        window = torch.where(up, upper[place], lower[place])
        hunt.spend(rows, steps=1)
        new = (window != image[place]).flatten(1).any(dim=1)
        if not new.any():
            continue
        hunt.spend(rows[new], forwards=1)
        asked = rows_of(hunt)[: len(rows)]
        if int(new.sum()) < _MOST * len(rows):
            asked = new.nonzero()[:, 0]
            window, new = window[asked], new[asked]
        reached = lead(trials.attempt(asked, top, left, window), y[asked])
        better = new & ((reached < smallest[asked]) | (reached <= 0))
        if not better.any():
            continue
        trials.accept(better)
        taken = asked[better]
        smallest[taken] = reached[better]
        image[(taken, *place[1:])] = window[better]
        wrong = smallest[taken] <= 0
        if wrong.any():
            left_over[taken] = ~hunt.claim(rows[taken], image[taken], wrong)
