"""Incremental forward pass for Square: recompute only the receptive field of the changed pixels.

A small square changes a small rectangle of the first feature maps and a larger one of later maps.
The feature maps of all images are stored. An attempt computes only these rectangles, each from a
piece of the stored map before it into which the changed rectangle is pasted. All windows of one
size use rectangles of one size, the largest that any position needs. So many attempts, of different
images at different positions, share every kernel. If a rectangle is most of a map, the whole map is
computed; maps that even a small window changes mostly are not stored. Accepted rectangles are
pasted as they were computed, so every map stays within one rounding of a full pass.
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

_MOST = 0.7  # share of a map from which the whole map is computed
_SMALL = 3  # side of the window that decides which maps are never stored
_MOST_BYTES = 4 * 2**30  # of stored maps


class Span(NamedTuple):
    """Pixels along one axis of a map, for every position of a window along it.

    Attributes
    ----------
    starts : Tensor of int64, shape (P,)
    size : int
    """

    starts: Tensor
    size: int

    def pixels(self) -> Tensor:
        """Return the position of every pixel, shape (P, size)."""
        return self.starts[:, None] + torch.arange(self.size)


class Region(NamedTuple):
    """A rectangle of a map for every position of a window."""

    rows: Span
    columns: Span
    whole: bool


@dataclass(frozen=True)
class Cut:
    """Where a rectangle of a stored map is, and where in it the changed pixels are pasted.

    Attributes
    ----------
    size : tuple of int
        Rows and columns of the rectangle.
    rows, columns : Tensor of int64, shape (P, size)
        Offset of each position of a window in the stored pixels.
    into_rows, into_columns : Tensor of int64, shape (P, size of the change)
        The same in the pixels of the rectangle; far below zero outside it.
    inside : bool
        Whether no changed pixel is outside.
    """

    size: Pair
    rows: Tensor
    columns: Tensor
    into_rows: Tensor
    into_columns: Tensor
    inside: bool


@dataclass(frozen=True)
class Layout:
    """Everything that depends on the side of a window.

    Attributes
    ----------
    regions : dict of Node to Region
        The changed rectangle of each map.
    cuts : dict of Node to list
        What each step reads of its sources: a cut, or None if it reads the changed rectangle.
    """

    regions: dict[fx.Node, Region]
    cuts: dict[fx.Node, list[Cut | None]]


def incremental_forward(graph: fx.GraphModule | None, images: Tensor) -> IncrementalForward | None:
    """Return the incremental forward pass of a network, or None if it is impossible.

    Parameters
    ----------
    graph : GraphModule, optional
        A folded float32 copy; see `fold_batchnorm` in `batchnorm_folding`.
    images : Tensor of float32, shape (N, C, H, W)
        The attacked images. The result is None if their maps need too much memory, or on a GPU,
        where launching many small kernels takes longer than a full pass.
    """
    if graph is None or images.device.type != "cpu":
        return None
    steps = steps_of(graph)
    if steps is None:
        return None
    trials = IncrementalForward(steps)
    trials.start(images[:1])
    fits = trials.bytes * len(images) <= _MOST_BYTES
    return trials if fits and trials.alike else None


class Maps:
    """One feature map of every stored image, channels last, with a border of zeros."""

    def __init__(self, maps: Tensor, border: Pair) -> None:
        count, channels, height, width = maps.shape
        self.border = border
        self.width = width + 2 * border[1]
        self.stored = maps.new_zeros(count, height + 2 * border[0], self.width, channels)
        self.stored[:, border[0] : border[0] + height, border[1] : border[1] + width] = (
            maps.permute(0, 2, 3, 1)
        )

    def offsets(self, rows: Span, columns: Span) -> tuple[Tensor, Tensor]:
        """Return the offsets of rows and columns of the map in an image."""
        return (
            (rows.pixels() + self.border[0]) * self.width,
            columns.pixels() + self.border[1],
        )

    def positions(self, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the positions of pixels of some images in the storage, from their offsets."""
        first = images * (self.stored.shape[1] * self.width)
        return ((first[:, None] + rows)[:, :, None] + columns[:, None, :]).flatten()

    def keep(self, rows: Tensor) -> None:
        """Drop the maps of all other images."""
        self.stored = self.stored[rows]


class IncrementalForward:
    """Logits of stored images with changed windows; see `datacurate.attacks.square`.

    Parameters
    ----------
    steps : list of Step
        Steps of a network in the order of computation; the last one gives the logits.
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
        """Memory of the stored maps."""
        return sum(maps.stored.nbytes for maps in self._kept.values())

    @property
    def alike(self) -> bool:
        """Whether all sums add maps of equal size."""
        sums = (step for step in self._steps if step.kind == "sum")
        return all(len({self._sizes[source] for source in step.sources}) == 1 for step in sums)

    def start(self, images: Tensor) -> Tensor:
        """Store images of shape (N, C, H, W); return their logits."""
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
        """Return the rectangle of each map that a window changes, for every position."""
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
            # A pooling kernel may end beyond the map; the layer handles that itself.
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
        """Return what a step reads of a source's map, or None if it reads the changed rectangle."""
        change = regions[source]
        region = regions.get(step.node)
        if region is None or region.whole:
            if change.whole:
                return None
            # The layer pads by itself.
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
        """Return the logits of stored images with one window of pixels replaced in each.

        Parameters
        ----------
        rows : Tensor of int64, shape (B,)
            Rows of stored images; a row may appear several times.
        tops, lefts : Tensor of int64, shape (B,)
            Upper left corner of the window.
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
        """Return a rectangle of stored maps with the changed patch, shape (B, *cut.size, C)."""
        maps = self._kept[source]
        count, channels = len(rows), patch.shape[3]
        pixels = maps.positions(rows, cut.rows[tops], cut.columns[lefts])
        # Pixels of a patch that lie outside go into one extra pixel, which is not read.
        out = patch.new_empty(len(pixels) + 1, channels)
        found = out[: len(pixels)]
        torch.index_select(maps.stored.view(-1, channels), 0, pixels, out=found)
        into = cut.into_rows[tops][:, :, None] + cut.into_columns[lefts][:, None, :]
        first = torch.arange(0, len(pixels), cut.size[0] * cut.size[1])[:, None, None]
        into = into + first if cut.inside else torch.where(into < 0, len(pixels), into + first)
        out.index_copy_(0, into.flatten(), patch.view(-1, channels))
        return found.view(count, *cut.size, channels)

    def accept(self, which: Tensor) -> None:
        """Accept some windows of the last attempt, at most one for each image."""
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
        """Drop all other stored images."""
        for maps in self._kept.values():
            maps.keep(rows)


def _union(changed: list[Interval]) -> Interval:
    starts, stops = zip(*changed, strict=True)
    return torch.stack(starts).amin(dim=0), torch.stack(stops).amax(dim=0)


def _span(changed: Interval, end: int) -> Span:
    """Return intervals of one size that contain the changes, on a map of `end` pixels."""
    starts, stops = changed
    size = min(max(int((stops - starts).max()), 1), end)
    return Span(starts.clamp(0, end - size), size)


def _within(changed: Span, span: Span) -> Tensor:
    """Return the place of each changed pixel in a span, or −1 outside, shape (P, changed.size)."""
    inside = changed.pixels() - span.starts[:, None]
    return torch.where((inside >= 0) & (inside < span.size), inside, -1)
