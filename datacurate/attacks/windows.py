"""Logits of images that differ from kept ones in a window, from what the window reaches.

A small square changes a small rectangle of the first feature maps and a larger one of the later.
The maps of the kept images are kept, and an attempt computes those rectangles alone, each with
the margin that its kernels reach beyond it. Where a rectangle is most of a map, the whole map
costs no more; maps of which even a small window reaches most are not kept at all. Accepted
rectangles are pasted as they were computed, so that however many are accepted, every map is one
rounding away from that of a whole pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, fx

from datacurate.attacks.reach import Pair, Rectangle, Step, needed, reached, steps_of

_MOST = 0.7  # of a map: beyond that the whole map is computed
_SMALL = 3  # side of a window in the middle that tells which maps are always whole
_MOST_BYTES = 4 * 2**30  # of kept maps


class Patch(NamedTuple):
    """What replaces a rectangle of some kept maps, of shape (M, C, height, width)."""

    place: Rectangle
    values: Tensor


def windowed(graph: fx.GraphModule | None, images: Tensor) -> WindowTrials | None:
    """Return trials that compute what a window reaches, or nothing where there is no such way.

    Parameters
    ----------
    graph : GraphModule, optional
        A folded float32 copy; see `datacurate.attacks.fused.fused`.
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
        self._up, self._aside = border
        self.whole = Rectangle(0, height, 0, width)
        self._stored = maps.new_zeros(
            count, height + 2 * self._up, width + 2 * self._aside, channels
        )
        self._view(self.whole).copy_(maps.permute(0, 2, 3, 1))

    @property
    def bytes(self) -> int:
        """What they take."""
        return self._stored.nbytes

    def _view(self, place: Rectangle) -> Tensor:
        rows = slice(place.top + self._up, place.bottom + self._up)
        return self._stored[:, rows, place.left + self._aside : place.right + self._aside]

    def read(self, rows: Tensor | None, place: Rectangle, patch: Patch | None) -> Tensor:
        """Return a rectangle of the maps of some images, or of all, with a patch in it."""
        if patch is not None and patch.place == place:
            return patch.values
        stored = self._view(place)
        if rows is not None:
            stored = stored.index_select(0, rows)
        elif patch is not None:
            stored = stored.clone(memory_format=torch.contiguous_format)
        maps = stored.permute(0, 3, 1, 2)
        if patch is not None:
            # Strides may leave the last pixels of a map unseen, and with them a part of the patch.
            both = _common(place, patch.place)
            _cut(maps, place, both).copy_(_cut(patch.values, patch.place, both))
        return maps

    def paste(self, rows: Tensor, patch: Patch) -> None:
        """Replace a rectangle of the maps of some images."""
        self._view(patch.place)[rows] = patch.values.permute(0, 2, 3, 1)

    def keep(self, rows: Tensor) -> None:
        """Drop the maps of all images but these."""
        self._stored = self._stored[rows]


class WindowTrials:
    """Logits of images that differ from kept ones in a window; see `datacurate.attacks.square`.

    Parameters
    ----------
    steps : list of Step
        Of a network, in the order of their computation; the last gives its logits.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._borders: dict[fx.Node, Pair] = {}
        for step in steps:
            if step.kind in ("pointwise", "thin", "vector"):
                continue
            for source in step.sources:
                up, aside = self._borders.get(source, (0, 0))
                border = max(up, step.padding[0]), max(aside, step.padding[1])
                self._borders[source] = border

    @property
    def bytes(self) -> int:
        """What the kept maps take."""
        return sum(maps.bytes for maps in self._kept.values())

    @property
    def alike(self) -> bool:
        """Whether all sums are of maps of one size, pixel on pixel."""
        sums = (step for step in self._steps if step.kind == "sum")
        return all(len({self._sizes[source] for source in step.sources}) == 1 for step in sums)

    def start(self, images: Tensor) -> Tensor:
        """Keep images; return their logits."""
        self._count = len(images)
        self._kept: dict[fx.Node, Maps] = {}
        self._sizes: dict[fx.Node, Rectangle] = {}
        values = {self._steps[0].sources[0]: images.contiguous(memory_format=torch.channels_last)}
        for step in self._steps:
            values[step.node] = step.whole(*(values[source] for source in step.sources))
        for node, value in values.items():
            if value.ndim == 4:
                self._sizes[node] = Rectangle(0, value.shape[2], 0, value.shape[3])
        self._whole = self._always_whole()
        for step in self._steps:
            for source in step.sources:
                if source in self._borders or step.node in self._whole:
                    self._borders.setdefault(source, (0, 0))
        for node in self._borders.keys() - self._whole:
            self._kept[node] = Maps(values[node], self._borders[node])
        return values[self._steps[-1].node]

    def _always_whole(self) -> set[fx.Node]:
        """Return the maps of which a small window in the middle reaches most."""
        entry = self._steps[0].sources[0]
        size = self._sizes[entry]
        top, left = (size.bottom - _SMALL) // 2, (size.right - _SMALL) // 2
        changed = {entry: Rectangle(max(top, 0), top + _SMALL, max(left, 0), left + _SMALL)}
        whole: set[fx.Node] = set()
        for step in self._steps:
            if step.kind in ("gather", "vector"):
                continue
            size = self._sizes[step.node]
            changed[step.node] = reached(
                _union([changed[each] for each in step.sources]), step, size
            )
            if changed[step.node].area > _MOST * size.area or any(
                each in whole for each in step.sources
            ):
                whole.add(step.node)
        return whole

    def attempt(self, rows: Tensor, top: int, left: int, window: Tensor) -> Tensor:
        """Return logits of some kept images, in their order, with a window of pixels replaced."""
        height, width = window.shape[2:]
        chosen = None if len(rows) == self._count else rows
        window = window.contiguous(memory_format=torch.channels_last)
        patches: dict[fx.Node, Patch | None] = {
            self._steps[0].sources[0]: Patch(
                Rectangle(top, top + height, left, left + width), window
            )
        }
        vectors: dict[fx.Node, Tensor] = {}
        for step in self._steps:
            source = step.sources[0]
            if step.kind == "vector":
                vectors[step.node] = step.whole(vectors[source])
            elif step.kind == "gather":
                vectors[step.node] = step.whole(self._all(source, chosen, patches[source]))
            else:
                changed = [patches[source] for source in step.sources]
                patches[step.node] = self._changed(step, chosen, changed)
        self._rows, self._patches = rows, patches
        return vectors[self._steps[-1].node]

    def _changed(
        self, step: Step, rows: Tensor | None, changed: list[Patch | None]
    ) -> Patch | None:
        """Return what changes of a step's maps where a part of its sources' has changed."""
        if step.node in self._whole:
            inputs = [
                self._all(source, rows, patch)
                for source, patch in zip(step.sources, changed, strict=True)
            ]
            return Patch(self._sizes[step.node], step.whole(*inputs))
        places = [patch.place for patch in changed if patch is not None]
        if not places:
            return None
        size = self._sizes[step.node]
        place = reached(_union(places), step, size)
        if place.area == 0:
            return None
        patch = changed[0]
        if step.kind == "pointwise" and patch is not None:
            return Patch(place, step.whole(patch.values))
        if step.kind == "thin" and patch is not None:
            above = place.top * step.stride[0] - patch.place.top
            before = place.left * step.stride[1] - patch.place.left
            return Patch(place, step.whole(patch.values[:, :, above:, before:]))
        if place.area > _MOST * size.area:
            place = size
        if step.kind == "sum":
            parts = [
                self._kept[source].read(rows, place, patch)
                for source, patch in zip(step.sources, changed, strict=True)
            ]
            return Patch(place, step.whole(*parts))
        maps = self._kept[step.sources[0]]
        if place == size:
            return Patch(size, step.whole(maps.read(rows, maps.whole, patch)))
        assert step.part is not None
        return Patch(place, step.part(maps.read(rows, needed(place, step, maps.whole), patch)))

    def _all(self, source: fx.Node, rows: Tensor | None, patch: Patch | None) -> Tensor:
        """Return the whole maps of some images, or of all, with a patch in them."""
        if patch is not None and patch.place == self._sizes[source]:
            return patch.values
        return self._kept[source].read(rows, self._sizes[source], patch)

    def accept(self, which: Tensor) -> None:
        """Replace the window of some rows of the last attempt, by a mask over them."""
        for node, maps in self._kept.items():
            patch = self._patches[node]
            if patch is not None:
                maps.paste(self._rows[which], Patch(patch.place, patch.values[which]))

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""
        self._count = len(rows)
        for maps in self._kept.values():
            maps.keep(rows)


def _common(one: Rectangle, other: Rectangle) -> Rectangle:
    top, left = max(one.top, other.top), max(one.left, other.left)
    bottom, right = min(one.bottom, other.bottom), min(one.right, other.right)
    return Rectangle(top, max(bottom, top), left, max(right, left))


def _cut(maps: Tensor, place: Rectangle, part: Rectangle) -> Tensor:
    """Return a part of maps that are those of a place."""
    rows = slice(part.top - place.top, part.bottom - place.top)
    return maps[:, :, rows, part.left - place.left : part.right - place.left]


def _union(places: list[Rectangle]) -> Rectangle:
    tops, bottoms, lefts, rights = zip(*places, strict=True)
    return Rectangle(min(tops), max(bottoms), min(lefts), max(rights))
