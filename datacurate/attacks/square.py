"""Square: random search that needs only the logits of the model.

Andriushchenko et al., "Square Attack: a query-efficient black-box adversarial attack via random
search" (https://arxiv.org/abs/1912.00049), ℓ∞ version with the margin loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datacurate.attacks.acceleration.incremental_forward import incremental_forward
from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch, Counts, RowState, margin
from datacurate.attacks.noise import keyed_uniform
from datacurate.attacks.window_forward import FullForward, WindowForward, window_indices

_FIRST_SHARE = 0.8  # of the image's pixels in the first squares
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which it halves
_ACCEPTED_PER_PASS = 0.5  # squares of one image in one pass that are accepted, on average
_SMALLEST_ACCEPTANCE = 0.005  # lower limit of the estimated share of accepted squares


def square_attack(batch: AttackBatch, arguments: AttackArguments) -> None:
    """Run Square with the incremental forward pass where the model allows it."""
    model = batch.model
    incremental = incremental_forward(model.folded, batch.x) if model.incremental_forward else None
    square(batch, arguments, incremental or FullForward(model.float32_logits))


def square(batch: AttackBatch, arguments: AttackArguments, forward: WindowForward) -> None:
    """Run Square once on every example of a batch.

    It starts from vertical stripes. Each query paints one square of the image: every channel gets
    one end of its pixels' intervals. The square stays if the margin shrinks. The stripes depend on
    the example; the sequence of squares is the same for all. A square that changes no pixel is a
    query with a known answer and costs no forward pass.

    If there are few images, one pass tries several squares of each image, as if none of them were
    accepted, because most are not. The queries of an image count up to its first accepted square.
    Those after it are repeated with the changed image, and only then counted.

    Parameters
    ----------
    batch : AttackBatch
    arguments : AttackArguments
        `steps` is the number of queries after the start; up to `queries_per_pass` of them share a
        forward pass.
    forward : WindowForward
    """
    queries = arguments.steps
    state = _begin(batch, arguments, forward)
    squares = Squares.draw(arguments.seeds[0], queries, batch.x.shape, batch.x.device)
    acceptance = 1.0
    while True:
        state.active &= state.queried < queries
        if not state.active.all():
            forward.keep(state.active.nonzero()[:, 0])
            state.keep(state.active)
        count = len(state.rows)
        if not count:
            return
        per_image = int(_ACCEPTED_PER_PASS / acceptance)
        per_image = max(1, min(arguments.queries_per_pass // count, per_image))
        proposals = _propose(state, squares, per_image, queries)
        margins, better = _margins(state, forward, proposals)
        counted = _up_to_first(better, proposals.images, count)
        costly = counted & proposals.changed
        batch.count_work(state.rows, steps=_per_image(counted, proposals.images, count))
        batch.count_work(state.rows, forwards=_per_image(costly, proposals.images, count))
        state.queried += torch.bincount(proposals.images[counted], minlength=count)
        accepted = counted & better
        share = float(accepted.sum()) / float(counted.sum())
        acceptance = max(0.9 * acceptance + 0.1 * share, _SMALLEST_ACCEPTANCE)
        if accepted.any():
            forward.accept(accepted[proposals.changed].nonzero()[:, 0])
            state.accept(proposals, margins, accepted)
            _confirm(batch, state, proposals.images[accepted])


def square_side(query: int, height: int, width: int) -> int:
    """Return the side in pixels of the square of a query, counted from 0."""
    share = _FIRST_SHARE / 2 ** sum(query > end for end in _HALVINGS)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


@dataclass(frozen=True)
class Squares:
    """The sequence of squares, which is the same for all images.

    Attributes
    ----------
    sizes, tops, lefts : Tensor of int64, shape (Q,)
        Side and upper left corner of each square.
    bright : Tensor of bool, shape (Q, C)
        Whether a channel's pixels go to the upper or the lower end of their intervals.
    """

    sizes: Tensor
    tops: Tensor
    lefts: Tensor
    bright: Tensor

    @classmethod
    def draw(cls, seed: int, queries: int, shape: torch.Size, device: torch.device) -> Squares:
        """Draw one square for each query.

        Parameters
        ----------
        seed, queries : int
        shape : Size
            Of the images, (N, C, H, W).
        device : device
        """
        channels, height, width = shape[1:]
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(queries, 2 + channels, generator=generator)
        sizes = torch.tensor([square_side(query, height, width) for query in range(queries)])
        tops, lefts = (
            (uniform[:, axis] * (length - sizes + 1)).long()
            for axis, length in enumerate((height, width))
        )
        tensors = (sizes.long(), tops, lefts, uniform[:, 2:] >= 0.5)
        return cls(*(tensor.to(device) for tensor in tensors))


@dataclass(frozen=True)
class _Proposals:
    """Squares that are tried in one forward pass, in the order of their images and queries.

    Attributes
    ----------
    images : Tensor of int64, shape (T,)
        For which image of the state; an image may occur several times.
    tops, lefts : Tensor of int64, shape (T,)
        Upper left corners of windows of the same side, which contain the squares.
    windows : Tensor of float32, shape (T, side, side, C)
        The pixels of the windows with the squares painted.
    changed : Tensor of bool, shape (T,)
        Whether the square changes a pixel.
    """

    images: Tensor
    tops: Tensor
    lefts: Tensor
    windows: Tensor
    changed: Tensor


@dataclass
class _State(RowState):
    """What Square remembers of each example that is not broken.

    Attributes
    ----------
    rows, y : Tensor of int64, shape (M,)
    lower, upper, image : Tensor of float32, shape (M, H, W, C)
        Bounds of the pixels, and the best image so far.
    margin : Tensor of float32, shape (M,)
        Of the best image.
    queried : Tensor of int64, shape (M,)
        Queries so far.
    active : Tensor of bool, shape (M,)
        False once the example is broken or has had all its queries.
    """

    y: Tensor
    lower: Tensor
    upper: Tensor
    image: Tensor
    margin: Tensor
    queried: Tensor
    active: Tensor

    def accept(self, proposals: _Proposals, margins: Tensor, accepted: Tensor) -> None:
        """Paint the accepted squares, at most one an image, and take over their margins."""
        images = proposals.images[accepted]
        self.margin[images] = margins[accepted]
        tops, lefts = proposals.tops[accepted], proposals.lefts[accepted]
        pixels = window_indices(images, tops, lefts, proposals.windows.shape[1])
        self.image[pixels] = proposals.windows[accepted]


def _begin(batch: AttackBatch, arguments: AttackArguments, forward: WindowForward) -> _State:
    """Return the state at the stripes that Square starts from."""
    rows = batch.unbroken_rows()
    count, channels, _, width = batch.x.shape
    uniform = keyed_uniform(arguments.seeds[0], arguments.keys, channels * width)
    stripes = uniform.view(count, channels, 1, width) >= 0.5
    bright = stripes.to(batch.x.device)[rows]
    start = torch.where(bright, batch.upper[rows], batch.lower[rows])
    y = batch.y[rows]
    start_margin = margin(forward.start(start), y)
    batch.count_work(rows, forwards=1)
    return _State(
        rows=rows,
        y=y,
        lower=batch.lower[rows].permute(0, 2, 3, 1),
        upper=batch.upper[rows].permute(0, 2, 3, 1),
        image=start.permute(0, 2, 3, 1).contiguous(),
        margin=start_margin,
        queried=torch.zeros_like(rows),
        active=~batch.confirm(rows, start, start_margin <= 0),
    )


def _propose(state: _State, squares: Squares, per_image: int, queries: int) -> _Proposals:
    """Return the next squares of each image, at most `per_image` and not beyond the last query."""
    query = state.queried[:, None] + torch.arange(per_image, device=state.queried.device)
    due = (query < queries).flatten().nonzero()[:, 0]
    images, query = due // per_image, query.flatten()[due]
    # All windows have the side of the largest square; those at an edge move into the image.
    _, height, width, _ = state.image.shape
    side = int(squares.sizes[query].max())
    tops = squares.tops[query].clamp(max=height - side)
    lefts = squares.lefts[query].clamp(max=width - side)
    pixels = window_indices(images, tops, lefts, side)
    bright = squares.bright[query][:, None, None]
    painted = torch.where(bright, state.upper[pixels], state.lower[pixels])
    windows = torch.where(_in_square(squares, query, pixels), painted, state.image[pixels])
    changed = (windows != state.image[pixels]).flatten(1).any(dim=1)
    return _Proposals(images, tops, lefts, windows, changed)


def _in_square(squares: Squares, query: Tensor, pixels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return which pixels of the windows belong to their squares, shape (T, side, side, 1)."""
    sizes, tops, lefts = (
        values[query][:, None, None] for values in (squares.sizes, squares.tops, squares.lefts)
    )
    _, down, across = pixels
    inside = (down >= tops) & (down < tops + sizes)
    return (inside & (across >= lefts) & (across < lefts + sizes))[..., None]


def _margins(state: _State, forward: WindowForward, proposals: _Proposals) -> tuple[Tensor, Tensor]:
    """Return the margin of each proposal, and whether it is smaller than that of its image."""
    better = torch.zeros_like(proposals.changed)
    margins = state.margin[proposals.images]
    if proposals.changed.any():
        changed = proposals.changed.nonzero()[:, 0]
        images = proposals.images[changed]
        logits = forward.attempt(
            images, proposals.tops[changed], proposals.lefts[changed], proposals.windows[changed]
        )
        margins[changed] = margin(logits, state.y[images])
        smaller = margins < state.margin[proposals.images]
        better = proposals.changed & (smaller | (margins <= 0))
    return margins, better


def _confirm(batch: AttackBatch, state: _State, images: Tensor) -> None:
    """Confirm those of some images that are misclassified; broken ones become inactive."""
    wrong = state.margin[images] <= 0
    if wrong.any():
        adversarial = state.image[images].permute(0, 3, 1, 2)
        state.active[images] = ~batch.confirm(state.rows[images], adversarial, wrong)


def _up_to_first(better: Tensor, images: Tensor, count: int) -> Tensor:
    """Return which proposals come before the first better one of their image, or are it."""
    number = torch.arange(len(better), device=better.device)
    first = torch.full((count,), len(better), device=better.device)
    first.scatter_reduce_(0, images[better], number[better], "amin")
    return number <= first[images]


def _per_image(proposals: Tensor, images: Tensor, count: int) -> Counts:
    """Return how many of the marked proposals each image has."""
    counts = torch.bincount(images[proposals], minlength=count)
    return counts.cpu().numpy().astype(np.int32)
