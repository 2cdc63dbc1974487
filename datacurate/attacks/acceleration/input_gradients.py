"""Gradients of logits with respect to pixels, computed layer by layer without autograd.

Weights need no gradient, a ReLU only needs its output, and a strided slice adds its gradient where
it was taken. So only the convolutions remain as work, and their maps stay channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
from datacurate.attacks.acceleration.receptive_field import strides
from datacurate.attacks.attacked_model import Backward, Differentiable

Values = dict[fx.Node, Tensor]

_ALLOWED_ERROR = 0.05  # relative; bfloat16 rounds every sum of gradients
_FEW = 4  # channels; kernels that compute sixteen at a time are mostly idle with so few


class Gradients:
    """Gradients with respect to the maps of one pass, as far as they are computed."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self._known: dict[fx.Node, tuple[Tensor, bool]] = {}

    def take(self, node: fx.Node) -> Tensor:
        """Return the gradient of a map, after all its consumers have added to it."""
        return self._known.pop(node)[0]

    def add(self, node: fx.Node, part: Tensor, *, own: bool = True) -> None:
        """Add to the gradient of a map. With `own`, the part may be overwritten."""
        if node in self._known:
            before = self._known[node][0]
            part, own = part.add_(before) if own else part + before, True
        self._known[node] = part, own

    def add_cut(self, node: fx.Node, part: Tensor, stride: tuple[int, int]) -> None:
        """Add to the gradient of the pixels of a strided slice."""
        before, own = self._known.get(node, (None, False))
        if before is None:
            before, own = torch.zeros_like(self.values[node], dtype=part.dtype), True
        elif not own:
            before = before.clone()
        before[:, :, :: stride[0], :: stride[1]] += part
        self._known[node] = before, True


class Layer(NamedTuple):
    """One node of a network, forwards and backwards."""

    node: fx.Node
    sources: tuple[fx.Node, ...]
    forward: Callable[..., Tensor]
    backward: Callable[[Tensor, Gradients], None]


def explicit_input_gradients(copied: fx.GraphModule, sample: Tensor) -> Differentiable | None:
    """Return logits with an explicit backward pass, or None if autograd is needed.

    Autograd's threads do not survive a fork. Without autograd, attacks can run in forked processes.

    Parameters
    ----------
    copied : GraphModule
        See `datacurate.attacks.acceleration.batchnorm_folding.fold_batchnorm`.
    sample : Tensor of float32, shape (N, C, H, W)
        Images on which the gradients are compared with autograd.
    """
    layers = _layers(copied)
    if layers is None:
        return None

    def explicit(x: Tensor) -> tuple[Tensor, Backward]:
        with torch.no_grad():
            values = {layers[0].sources[0]: x.contiguous(memory_format=torch.channels_last)}
            for layer in layers:
                values[layer.node] = layer.forward(*(values[source] for source in layer.sources))
        logits = values[layers[-1].node]

        def backward(given: Tensor) -> Tensor:
            gradients = Gradients(values)
            gradients.add(layers[-1].node, given.to(logits.dtype), own=False)
            with torch.no_grad():
                for layer in reversed(layers):
                    layer.backward(gradients.take(layer.node), gradients)
            return gradients.take(layers[0].sources[0])

        return logits.float(), backward

    point = sample.contiguous(memory_format=torch.channels_last).requires_grad_()
    try:
        logits, backward = explicit(point.detach())
        got = backward(2 * logits)
        with torch.enable_grad():
            total = copied(point).square().sum()
        (expected,) = torch.autograd.grad(total, point)
    # The layers of a network may do anything, such as adding maps of different sizes.
    except (RuntimeError, ValueError):
        return None
    same = float((got - expected).norm()) <= _ALLOWED_ERROR * float(expected.norm())
    return explicit if same else None


def _layers(copied: fx.GraphModule) -> list[Layer] | None:
    """Return the layers of a copy, or None if one of them is unknown."""
    layers: list[Layer] = []
    entry: fx.Node | None = None
    for node in copied.graph.nodes:
        if node.op == "placeholder" and entry is None:
            entry = node
        elif node.op == "output":
            alone = entry is not None and len(entry.users) == 1
            whole = bool(layers) and node.args == (layers[-1].node,)
            return layers if alone and whole and layers[0].sources == (entry,) else None
        else:
            layer = _layer(copied, node)
            if layer is None:
                return None
            layers.append(layer)
    return None


def _layer(copied: fx.GraphModule, node: fx.Node) -> Layer | None:
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node):
        return None
    rest = node.args[1:]
    if node.op == "call_module" and not rest and not node.kwargs:
        return _of_module(copied.get_submodule(str(node.target)), node, source)
    if node.op == "call_function" and node.target in SUMS and not node.kwargs:
        return _sum(copied, node, source, rest[0])
    if node.op == "call_function" and node.target in RELUS and not rest:
        return _relu(node, source)
    if (stride := strides(node)) is not None:
        return _thin(node, source, stride)
    if node.op == "call_method" and node.target == "mean" and node.kwargs == {"dim": (2, 3)}:
        return _pooled(node, source)
    return None


def _of_module(module: nn.Module, node: fx.Node, source: fx.Node) -> Layer | None:
    if isinstance(module, Convolution):
        return _convolution(module, node, source)
    if isinstance(module, Affine):
        return _affine(module, node, source)
    if isinstance(module, Classifier):
        return _classifier(module, node, source)
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return _flat(module, node, source)
    return None


def _convolution(module: Convolution, node: fx.Node, source: fx.Node) -> Layer | None:
    layer = module.layer
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    corners = _four_at_once(layer) if layer.in_channels <= _FEW else None

    def backward(gradient: Tensor, gradients: Gradients) -> None:
        maps = gradients.values[source]
        if module.relu:
            gradient = _where_positive(gradient, gradients.values[node])
        if corners is not None and maps.shape[2] % 2 == maps.shape[3] % 2 == 0:
            part = functional.pixel_shuffle(functional.conv2d(gradient, corners, None, 2, 1), 2)
        else:
            # The gradient only depends on the shape and dtype of the input.
            like = torch.empty_like(maps, dtype=gradient.dtype)
            part = torch.ops.aten.convolution_backward(
                gradient, like, layer.weight, None, layer.stride, layer.padding,
                layer.dilation, False, (0, 0), layer.groups, (True, False, False),
            )[0]  # fmt: skip
        gradients.add(source, part.to(maps.dtype))

    return Layer(node, (source,), module, backward)


def _four_at_once(layer: nn.Conv2d) -> Tensor | None:
    """Return weights that compute the gradients of 2 × 2 pixels as channels of one pixel.

    Output 2i − 1 + k covers pixel 2i + a with weight a + 2 − k, for k from 0 to 3.
    """
    plain = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
    if plain != ((3, 3), (1, 1), (1, 1), (1, 1), 1):
        return None
    weight = layer.weight.detach()
    corners = weight.new_zeros(layer.in_channels, 2, 2, layer.out_channels, 4, 4)
    turned = weight.flip(2, 3).transpose(0, 1)
    for a in range(2):
        for b in range(2):
            corners[:, a, b, :, a : a + 3, b : b + 3] = turned
    return corners.flatten(0, 2).contiguous(memory_format=torch.channels_last)


def _affine(module: Affine, node: fx.Node, source: fx.Node) -> Layer:
    def backward(gradient: Tensor, gradients: Gradients) -> None:
        if module.relu:
            gradient = _where_positive(gradient, gradients.values[node])
        scale, _ = module.rows(gradient.shape[3])
        gradients.add(source, gradient * scale)

    return Layer(node, (source,), module, backward)


def _sum(copied: fx.GraphModule, node: fx.Node, one: fx.Node, other: object) -> Layer | None:
    if not isinstance(other, fx.Node) or other is one:
        return None
    sources = one, other
    # A convolution's output without other consumers may be overwritten.
    module = copied.get_submodule(str(one.target)) if one.op == "call_module" else None
    in_place = isinstance(module, Convolution) and not module.relu and len(one.users) == 1

    def backward(gradient: Tensor, gradients: Gradients) -> None:
        for source in sources:
            gradients.add(source, gradient, own=False)

    def forward(maps: Tensor, others: Tensor) -> Tensor:
        if maps.shape != others.shape:
            raise ValueError("only maps of equal size can be added")
        return maps.add_(others) if in_place else maps + others

    return Layer(node, sources, forward, backward)


def _relu(node: fx.Node, source: fx.Node) -> Layer:
    # A sum without other consumers may be overwritten.
    in_place = source.target in SUMS and len(source.users) == 1

    def backward(gradient: Tensor, gradients: Gradients) -> None:
        gradients.add(source, _where_positive(gradient, gradients.values[node]))

    return Layer(node, (source,), torch.relu_ if in_place else torch.relu, backward)


def _thin(node: fx.Node, source: fx.Node, stride: tuple[int, int]) -> Layer:
    def forward(maps: Tensor) -> Tensor:
        return maps[:, :, :: stride[0], :: stride[1]]

    def backward(gradient: Tensor, gradients: Gradients) -> None:
        gradients.add_cut(source, gradient, stride)

    return Layer(node, (source,), forward, backward)


def _pooled(node: fx.Node, source: fx.Node) -> Layer:
    def backward(gradient: Tensor, gradients: Gradients) -> None:
        maps = gradients.values[source]
        each = (gradient / (maps.shape[2] * maps.shape[3]))[:, :, None, None].expand(maps.shape)
        gradients.add(source, each.contiguous(memory_format=torch.channels_last))

    return Layer(node, (source,), lambda maps: maps.mean(dim=(2, 3)), backward)


def _flat(module: nn.Module, node: fx.Node, source: fx.Node) -> Layer:
    def backward(gradient: Tensor, gradients: Gradients) -> None:
        maps = gradients.values[source]
        part = gradient.reshape(maps.shape).contiguous(memory_format=torch.channels_last)
        gradients.add(source, part, own=False)

    return Layer(node, (source,), module, backward)


def _classifier(module: Classifier, node: fx.Node, source: fx.Node) -> Layer:
    def backward(gradient: Tensor, gradients: Gradients) -> None:
        part = gradient @ module.layer.weight
        gradients.add(source, part.to(gradients.values[source].dtype))

    return Layer(node, (source,), module, backward)


def _where_positive(gradient: Tensor, rectified: Tensor) -> Tensor:
    """Return the gradient before a ReLU, from the gradient after it and its output."""
    part: Tensor = torch.ops.aten.threshold_backward(gradient, rectified, 0)
    return part
