"""Logits of images that differ from kept ones in a window, from what the window reaches.

A small square changes a small rectangle of the first feature maps and a larger one of the later.
The maps of the kept images are kept, and a try computes those rectangles alone, each from a cut of
the map before it: the kept map with the rectangle that has changed put into it. Windows of one
size lie anywhere, so their rectangles are given one size too, the largest that any place needs;
many tries, of different images at different places, then share every kernel. Where a rectangle is
most of a map, the whole map costs no more; maps of which even a small window reaches most are not
kept at all. Accepted rectangles are pasted as they were computed, so that however many are
accepted, every map is one rounding away from that of a whole pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from datacurate.attacks.acceleration.receptive_field import (
    Interval,
    Pair,
    Step,
    needed,
    reached,
    steps_of,
)

_MOST = 0.7  # of a map: beyond that the whole map is computed
_SMALL = 3  # side of a window that tells which maps are always whole
_MOST_BYTES = 4 * 2**30  # of kept maps


class Span(NamedTuple):
    """Pixels along one axis of a map, for every place that a window may have along it.

    Attributes
    ----------
    starts : Tensor of int64, shape (P,)
    size : int
    """

    starts: Tensor
    size: int

    def pixels(self) -> Tensor:
        """Return every pixel's position, shape (P, size)."""
        return self.starts[:, None] + torch.arange(self.size)


class Region(NamedTuple):
    """A rectangle of a map for every place of a window."""

    rows: Span
    columns: Span
    whole: bool


@dataclass(frozen=True)
class Cut:
    """Where to find a rectangle of a kept map, and where in it the changed pixels go.

    Attributes
    ----------
    size : tuple of int
        Rows and columns of the rectangle.
    rows, columns : Tensor of int64, shape (P, size)
        What each place of a window adds to the position of a pixel among all kept.
    into_rows, into_columns : Tensor of int64, shape (P, size of the change)
        The same among the pixels of the rectangle; far below zero outside it.
    inside : bool
        Whether nothing is outside.
    """

    size: Pair
    rows: Tensor
    columns: Tensor
    into_rows: Tensor
    into_columns: Tensor
    inside: bool


@dataclass(frozen=True)
class Layout:
    """All that follows from the side of a window.

    Attributes
    ----------
    regions : dict of Node to Region
        What changes of each map.
    cuts : dict of Node to list
        What each step takes of its sources: a cut, or nothing where it takes the change itself.
    """

    regions: dict[fx.Node, Region]
    cuts: dict[fx.Node, list[Cut | None]]


def windowed(graph: fx.GraphModule | None, images: Tensor) -> WindowTrials | None:
    """Return trials that compute what a window reaches, or nothing where there is no such way.

    Parameters
    ----------
    graph : GraphModule, optional
        A folded float32 copy; see `datacurate.attacks.acceleration.batchnorm_folding.fused`.
    images : Tensor of float32, shape (N, C, H, W)
        On which they are to run. There are no such trials where the maps of so many would fill
        the memory, or for an accelerator, which waits for its kernels' starts and not their ends.
    """
    if graph is None or images.device.type != "cpu":
        return None
    steps = steps_of(graph)
    if steps is None:
        return None
    trials = WindowTrials(steps)
    trials.start(images[:1])
    fits = trials.bytes * len(images) <= _MOST_BYTES
    return trials if fits and trials.alike else None


class Maps:
    """One feature map of every kept image, channels last within a border of zeros."""

    def __init__(self, maps: Tensor, border: Pair) -> None:
        count, channels, height, width = maps.shape
        self.border = border
        self.width = width + 2 * border[1]
        self.stored = maps.new_zeros(count, height + 2 * border[0], self.width, channels)
        self.stored[:, border[0] : border[0] + height, border[1] : border[1] + width] = (
            maps.permute(0, 2, 3, 1)
        )

    def offsets(self, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """Return what rows and columns of the map add to a pixel's position in an image."""
        return (
            (rows.pixels() + self.border[0]) * self.width,
            columns.pixels() + self.border[1],
        )

    def positions(self, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the positions of pixels of some images among all, from their offsets."""
        first = images * (self.stored.shape[1] * self.width)
        return ((first[:, None] + rows)[:, :, None] + columns[:, None, :]).flatten()

    def keep(self, rows: Tensor) -> None:
        """Drop the maps of all images but these."""
        self.stored = self.stored[rows]


class WindowTrials:
    """Logits of images that differ from kept ones in a window; see `datacurate.attacks.square`.

    Parameters
    ----------
    steps : list of Step
        Of a network, in the order of their computation; the last gives its logits.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._entry = steps[0].sources[0]
        self._borders: dict[fx.Node, Pair] = {}
        for step in steps:
            if step.kind in ("pointwise", "vector"):
                continue
            for source in step.sources:
                up, aside = self._borders.get(source, (0, 0))
                self._borders[source] = max(up, step.padding[0]), max(aside, step.padding[1])

    @property
    def bytes(self) -> int:
        """What the kept maps take."""
        return sum(maps.stored.nbytes for maps in self._kept.values())

    @property
    def alike(self) -> bool:
        """Whether all sums are of maps of one size, pixel on pixel."""
        sums = (step for step in self._steps if step.kind == "sum")
        return all(len({self._sizes[source] for source in step.sources}) == 1 for step in sums)

    def start(self, images: Tensor) -> Tensor:
        """Keep images of shape (N, C, H, W); return their logits."""
        values = {self._entry: images.contiguous(memory_format=torch.channels_last)}
        for step in self._steps:
            values[step.node] = step.whole(*(values[source] for source in step.sources))
        self._sizes: dict[fx.Node, Pair] = {
            node: (value.shape[2], value.shape[3])
            for node, value in values.items()
            if value.ndim == 4
        }
        self._whole: set[fx.Node] = set()
        small = self._regions(min(_SMALL, *self._sizes[self._entry]))
        self._whole = {node for node, region in small.items() if region.whole}
        self._layouts: dict[int, Layout] = {}
        self._kept = {
            node: Maps(values[node], border)
            for node, border in self._borders.items()
            if node not in self._whole
        }
        return values[self._steps[-1].node]

    def _regions(self, side: int) -> dict[fx.Node, Region]:
        """Return what of each map changes with a window of a side, wherever it is."""
        starts = [torch.arange(size - side + 1) for size in self._sizes[self._entry]]
        changed = {self._entry: [(start, start + side) for start in starts]}
        spans = [Span(start, side) for start in starts]
        regions = {self._entry: Region(spans[0], spans[1], whole=False)}
        for step in self._steps:
            if step.kind in ("gather", "vector"):
                continue
            size, node = self._sizes[step.node], step.node
            if step.kind == "pointwise":
                changed[node], regions[node] = changed[step.sources[0]], regions[step.sources[0]]
                continue
            changed[node] = [
                _union([reached(changed[s][axis], step, axis, size[axis]) for s in step.sources])
                for axis in (0, 1)
            ]
            rows, columns = (_span(changed[node][axis], size[axis]) for axis in (0, 1))
            whole = node in self._whole or any(regions[s].whole for s in step.sources)
            whole |= rows.size * columns.size > _MOST * size[0] * size[1]
            # A kernel that ends beyond the map, as poolings may, is the layer's own business.
            whole |= not step.fits(self._sizes[step.sources[0]], size)
            if whole:
                rows, columns = (
                    Span(torch.zeros_like(span.starts), size[axis])
                    for axis, span in enumerate((rows, columns))
                )
            regions[node] = Region(rows, columns, whole)
        return regions

    def _layout(self, side: int) -> Layout:
        if side not in self._layouts:
            regions = self._regions(side)
            cuts: dict[fx.Node, list[Cut | None]] = {}
            for step in self._steps:
                if step.kind in ("pointwise", "vector"):
                    continue
                cuts[step.node] = [self._cut_of(step, source, regions) for source in step.sources]
            self._layouts[side] = Layout(regions, cuts)
        return self._layouts[side]

    def _cut_of(self, step: Step, source: fx.Node, regions: dict[fx.Node, Region]) -> Cut | None:
        """Return what a step takes of a source's map, or nothing if that is all that changes."""
        change = regions[source]
        region = regions.get(step.node)
        if region is None or region.whole:
            if change.whole:
                return None
            # The layer sees to its padding itself.
            spans = [
                Span(torch.zeros_like(span.starts), size)
                for span, size in zip(change[:2], self._sizes[source], strict=True)
            ]
        else:
            spans = [
                Span(*needed(span.starts, span.size, step, axis))
                for axis, span in enumerate(region[:2])
            ]
        if all(
            one.size == other.size and torch.equal(one.starts, other.starts)
            for one, other in zip(spans, change[:2], strict=True)
        ):
            return None
        rows, columns = self._kept[source].offsets(*spans)
        into_rows, into_columns = (
            _within(changed, span) for changed, span in zip(change[:2], spans, strict=True)
        )
        width = spans[1].size
        outside = -spans[0].size * width
        return Cut(
            size=(spans[0].size, width),
            rows=rows,
            columns=columns,
            into_rows=torch.where(into_rows < 0, outside, into_rows * width),
            into_columns=torch.where(into_columns < 0, outside, into_columns),
            inside=bool((into_rows >= 0).all() and (into_columns >= 0).all()),
        )

    def attempt(self, rows: Tensor, tops: Tensor, lefts: Tensor, windows: Tensor) -> Tensor:
        """Return logits of kept images with a window of pixels each replaced.

        Parameters
        ----------
        rows : Tensor of int64, shape (B,)
            Which kept image; any may come several times.
        tops, lefts : Tensor of int64, shape (B,)
            Where its window lies.
        windows : Tensor of float32, shape (B, side, side, C)
        """
        layout = self._layout(windows.shape[1])
        patches = {self._entry: windows}
        vectors: dict[fx.Node, Tensor] = {}
        for step in self._steps:
            if step.kind == "vector":
                vectors[step.node] = step.whole(vectors[step.sources[0]])
                continue
            if step.kind == "pointwise":
                inputs = [patches[step.sources[0]]]
            else:
                inputs = [
                    patches[source]
                    if cut is None
                    else self._taken(source, cut, rows, tops, lefts, patches[source])
                    for source, cut in zip(step.sources, layout.cuts[step.node], strict=True)
                ]
            maps = [pixels.permute(0, 3, 1, 2) for pixels in inputs]
            if step.kind == "gather":
                vectors[step.node] = step.whole(*maps)
                continue
            in_part = step.part is not None and not layout.regions[step.node].whole
            made = step.part(*maps) if in_part and step.part is not None else step.whole(*maps)
            patches[step.node] = made.permute(0, 2, 3, 1).contiguous()
        self._tried = layout, rows, tops, lefts, patches
        return vectors[self._steps[-1].node]

    def _taken(
        self, source: fx.Node, cut: Cut, rows: Tensor, tops: Tensor, lefts: Tensor, patch: Tensor
    ) -> Tensor:
        """Return a rectangle of kept maps with a patch in each, shape (B, *cut.size, C)."""
        maps = self._kept[source]
        count, channels = len(rows), patch.shape[3]
        pixels = maps.positions(rows, cut.rows[tops], cut.columns[lefts])
        # What of a patch lies outside goes into one pixel more, which is not looked at.
        out = patch.new_empty(len(pixels) + 1, channels)
        found = out[: len(pixels)]
        torch.index_select(maps.stored.view(-1, channels), 0, pixels, out=found)
        into = cut.into_rows[tops][:, :, None] + cut.into_columns[lefts][:, None, :]
        first = torch.arange(0, len(pixels), cut.size[0] * cut.size[1])[:, None, None]
        into = into + first if cut.inside else torch.where(into < 0, len(pixels), into + first)
        out.index_copy_(0, into.flatten(), patch.view(-1, channels))
        return found.view(count, *cut.size, channels)

    def accept(self, which: Tensor) -> None:
        """Replace the windows of some tries of the last attempt, of an image one at the most."""
        layout, rows, tops, lefts, patches = self._tried
        rows, tops, lefts = rows[which], tops[which], lefts[which]
        for node, maps in self._kept.items():
            region = layout.regions[node]
            down, across = maps.offsets(region.rows, region.columns)
            pixels = maps.positions(rows, down[tops], across[lefts])
            channels = maps.stored.shape[3]
            changed = patches[node][which].view(-1, channels)
            maps.stored.view(-1, channels).index_copy_(0, pixels, changed)

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""
        for maps in self._kept.values():
            maps.keep(rows)


def _union(changed: list[Interval]) -> Interval:
    starts, stops = zip(*changed, strict=True)
    return torch.stack(starts).amin(dim=0), torch.stack(stops).amax(dim=0)


def _span(changed: Interval, end: int) -> Span:
    """Return intervals of one size that hold what changes, on a map of so many pixels."""
    starts, stops = changed
    size = min(max(int((stops - starts).max()), 1), end)
    return Span(starts.clamp(0, end - size), size)


def _within(changed: Span, span: Span) -> Tensor:
    """Return where in a span each changed pixel lies, or −1 outside, shape (P, changed.size)."""
    inside = changed.pixels() - span.starts[:, None]
    return torch.where((inside >= 0) & (inside < span.size), inside, -1)
