"""Receptive fields of a network, layer by layer and axis by axis.

A rectangle of changed pixels changes a rectangle of the next map: all outputs whose kernels cover a
changed pixel. Computing them needs a larger rectangle: everything that these kernels cover.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from datacurate.attacks.acceleration.batchnorm_folding import (
    RELUS,
    SUMS,
    Affine,
    Classifier,
    Convolution,
)

Pair = tuple[int, int]
"""Rows and columns."""

_POINTWISE = (Affine, nn.ReLU, nn.Identity, nn.Dropout)


Interval = tuple[Tensor, Tensor]
"""First pixels along an axis, and those after the last; int64."""


@dataclass(frozen=True)
class Step:
    """One node of a network.

    Attributes
    ----------
    node : Node
    sources : tuple of Node
        Nodes whose maps it reads.
    whole : callable
        Computes whole maps.
    kind : str
        ``"local"`` for layers with a kernel and for strided slices, which are kernels of one
        pixel; ``"pointwise"``; ``"sum"`` of two maps; ``"gather"`` from maps to vectors;
        ``"vector"`` after that.
    kernel, stride, padding : tuple of int
        In pixels of the source, rows and columns; `kernel` with its dilation.
    part : callable, optional
        For a local step: computes a part of the map from a part of the source that is already
        padded.
    """

    node: fx.Node
    sources: tuple[fx.Node, ...]
    whole: Callable[..., Tensor]
    kind: Literal["local", "pointwise", "sum", "gather", "vector"]
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    part: Callable[[Tensor], Tensor] | None = None

    def fits(self, source: Pair, size: Pair) -> bool:
        """Return whether all kernels end within the padded map of the source, given both sizes."""
        return all(
            needed(torch.zeros(1, dtype=torch.int64), size[axis], self, axis)[1]
            <= source[axis] + 2 * self.padding[axis]
            for axis in (0, 1)
        )


def reached(changed: Interval, step: Step, axis: int, end: int) -> Interval:
    """Return the outputs, of `end` in total, whose kernels cover an interval of the source."""
    starts, stops = changed
    stride, padding = step.stride[axis], step.padding[axis]
    first = -((step.kernel[axis] - 1 - padding - starts) // stride)
    return first.clamp(min=0), ((stops - 1 + padding) // stride + 1).clamp(max=end)


def needed(starts: Tensor, size: int, step: Step, axis: int) -> tuple[Tensor, int]:
    """Return start and length of the interval of the source that `size` outputs cover.

    Padding lies below 0 or beyond the end of the source.
    """
    stride = step.stride[axis]
    return starts * stride - step.padding[axis], (size - 1) * stride + step.kernel[axis]


def steps_of(graph: fx.GraphModule) -> list[Step] | None:
    """Return the steps of a network, or None if one of them is unknown."""
    if any(weight.dtype != torch.float32 for weight in graph.parameters()):
        return None
    steps: list[Step] = []
    known: dict[fx.Node, str] = {}
    for node in graph.graph.nodes:
        if node.op == "placeholder" and not known:
            known[node] = "maps"
            continue
        if node.op == "output":
            last = steps[-1] if steps else None
            is_logits = last is not None and last.kind == "vector" and node.args == (last.node,)
            return steps if is_logits else None
        step = _step(graph, node)
        takes = "vectors" if step is not None and step.kind == "vector" else "maps"
        if step is None or any(known.get(source) != takes for source in step.sources):
            return None
        steps.append(step)
        known[node] = "vectors" if step.kind in ("gather", "vector") else "maps"
    return None


def _step(graph: fx.GraphModule, node: fx.Node) -> Step | None:
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    if node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
        return _layer(graph.get_submodule(str(node.target)), node, source)
    rest = node.args[1:]
    if node.op == "call_function" and node.target in SUMS and not node.kwargs:
        other = rest[0]
        if not isinstance(other, fx.Node):
            return None
        return Step(node, (source, other), torch.add, "sum")
    if node.op == "call_function" and node.target in RELUS and not rest:
        return Step(node, (source,), torch.relu, "pointwise")
    if (stride := strides(node)) is not None:
        thinner = _thinner(stride)
        return Step(node, (source,), thinner, "local", stride=stride, part=thinner)
    if node.op == "call_method" and node.target == "mean" and not rest:
        is_pooling = node.kwargs == {"dim": (2, 3)}
        return Step(node, (source,), _pooled, "gather") if is_pooling else None
    return None


def _layer(module: nn.Module, node: fx.Node, source: fx.Node) -> Step | None:
    if isinstance(module, Convolution):
        return _convolution(module, node, source)
    if isinstance(module, nn.MaxPool2d):
        return _pooling(module, node, source)
    if isinstance(module, _POINTWISE) and not getattr(module, "inplace", False):
        return Step(node, (source,), module, "pointwise")
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return Step(node, (source,), module, "gather")
    if isinstance(module, Classifier):
        return Step(node, (source,), module, "vector")
    return None


def _convolution(module: Convolution, node: fx.Node, source: fx.Node) -> Step | None:
    layer = module.layer
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    dilation = _pair(layer.dilation)
    kernel = tuple(
        (size - 1) * by + 1 for size, by in zip(layer.kernel_size, dilation, strict=True)
    )

    stride, padding = _pair(layer.stride), _pair(layer.padding)

    def part(maps: Tensor) -> Tensor:
        out = functional.conv2d(
            maps, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups
        )
        return out.relu_() if module.relu else out

    return Step(node, (source,), module, "local", _pair(kernel), stride, padding, part)


def _pooling(module: nn.MaxPool2d, node: fx.Node, source: fx.Node) -> Step | None:
    plain = _pair(module.padding) == (0, 0) and _pair(module.dilation) == (1, 1)
    if not plain or module.return_indices:
        return None
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    # A part ends where a whole number of kernels ends, or with the map, as in the layer.
    return Step(node, (source,), module, "local", kernel, stride, part=module)


def _pair(size: Any) -> Pair:
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return rows, columns


def strides(node: fx.Node) -> Pair | None:
    """Return the strides of a slice ``[:, :, ::s, ::t]``, or None for another node."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return None
    match node.args[1]:
        case (
            slice(start=None, stop=None, step=None),
            slice(start=None, stop=None, step=None),
            slice(start=None, stop=None, step=int() | None as rows),
            slice(start=None, stop=None, step=int() | None as columns),
        ):
            return rows or 1, columns or 1
    return None


def _thinner(stride: Pair) -> Callable[[Tensor], Tensor]:
    return lambda maps: maps[:, :, :: stride[0], :: stride[1]]


def _pooled(maps: Tensor) -> Tensor:
    return maps.mean(dim=(2, 3))
