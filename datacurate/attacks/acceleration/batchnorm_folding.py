"""Cheaper copies of a network for searching: folded batch normalisation, fewer bits.

In eval mode batch normalisation is one multiplication and one addition per channel. After a
convolution, or a sum of two, they go into the weights; elsewhere they become one pass over the
features, together with the activation that follows. A copy that does not give the network's own
logits is not used.
"""

from __future__ import annotations

import copy
import operator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from datacurate.attacks.attacked_model import Predict
from datacurate.attacks.precision import full_float32
from datacurate.nets.normalization import Normalize

SUMS = (operator.add, operator.iadd, torch.add)
"""Functions of two maps, or of a map and a number, that add."""

RELUS = (functional.relu, torch.relu)

_SAME = 1e-4  # difference from the network's logits, relative to the largest, of a float32 copy
_SIMILAR = 0.1  # and of a bfloat16 copy
_EVEN = 0.01  # smallest scale, relative to the largest, by which a result may be divided again


class Affine(nn.Module):
    """A multiplication and an addition per channel, and perhaps a ReLU after them.

    Parameters
    ----------
    scale, shift : Tensor, of C elements
    relu : bool
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach().reshape(1, -1, 1, 1))
        self.register_buffer("shift", shift.detach().reshape(1, -1, 1, 1))
        self.relu = relu
        self._rows: dict[tuple[int, torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def rows(self, width: int) -> tuple[Tensor, Tensor]:
        """Return scale and shift once for each pixel of a row of so many, shape (1, C, 1, width).

        With the channels last, one row is then one stretch of memory in all that is multiplied.
        """
        key = (width, self.scale.dtype, self.scale.device)
        if key not in self._rows:
            self._rows[key] = _row(self.scale, width), _row(self.shift, width)
        return self._rows[key]

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of `x`, (B, C, H, W)."""
        scale, shift = self.rows(x.shape[3])
        out = torch.addcmul(shift, x, scale)
        return out.relu_() if self.relu else out


def _row(values: Tensor, width: int) -> Tensor:
    return values.expand(1, -1, 1, width).contiguous(memory_format=torch.channels_last)


class Standardised(Affine):
    """The normalisation of pixels, in float32 whatever comes after it."""


class Convolution(nn.Module):
    """A convolution in the type of its weights, and perhaps a ReLU after it."""

    def __init__(self, layer: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.layer = layer
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (B, C', H', W')."""
        out: Tensor = self.layer(x.to(self.layer.weight.dtype))
        return out.relu_() if self.relu else out


class Classifier(nn.Module):
    """A linear layer in float32, whatever comes before it: logits need their bits."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 of shape (B, K)."""
        out: Tensor = self.layer(x.float())
        return out


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Normalize) or super().is_leaf_module(module, name)


def fused(model: nn.Module, sample: Tensor, dtype: torch.dtype) -> fx.GraphModule | None:
    """Return a copy of a network that computes the same faster, or nothing if there is none.

    Parameters
    ----------
    model : Module
        In eval mode.
    sample : Tensor of float32, shape (N, C, H, W)
        Images on which the copy must repeat the network.
    dtype : dtype
        float32 or bfloat16, of convolutions and features; logits are float32.
    """
    try:
        tracer = _Tracer()
        graph = tracer.trace(copy.deepcopy(model).eval())
        copied = fx.GraphModule(tracer.root, graph)
        _fold(copied)
        for module in copied.modules():
            if isinstance(module, Convolution) or type(module) is Affine:
                module.to(dtype)
        copied = copied.to(memory_format=torch.channels_last).requires_grad_(False)
        with torch.no_grad(), full_float32(sample.device):
            expected, got = model(sample).float(), copied(sample).float()
    # Whatever a stranger's network does that cannot be traced or folded: there is no copy of it.
    except Exception:
        return None
    allowed = (_SAME if dtype == torch.float32 else _SIMILAR) * float(expected.abs().max())
    if got.shape != expected.shape or not float((got - expected).abs().max()) <= allowed:
        return None
    return copied


def quick(model: nn.Module, copied: fx.GraphModule | None, dtype: torch.dtype) -> Predict:
    """Return the cheapest logits of a network in a type: a copy's, or its own.

    Parameters
    ----------
    model : Module
    copied : GraphModule, optional
    dtype : dtype
    """

    def predict(x: Tensor) -> Tensor:
        # A copy's layers have their types already.
        arithmetic: AbstractContextManager[object] = (
            full_float32(x.device)
            if dtype == torch.float32
            else torch.autocast(x.device.type, dtype, enabled=copied is None)
        )
        with arithmetic:
            if copied is None:
                logits: Tensor = model(x)
            else:
                logits = copied(x.contiguous(memory_format=torch.channels_last))
        return logits.float()

    return predict


def _fold(copied: fx.GraphModule) -> None:
    """Put batch normalisation and ReLU into what they follow, in place."""
    modules = dict(copied.named_modules())

    def module_of(node: Any) -> nn.Module | None:
        is_module = isinstance(node, fx.Node) and node.op == "call_module"
        return modules[str(node.target)] if is_module else None

    def put(node: fx.Node, module: nn.Module) -> None:
        name = f"{str(node.target).replace('.', '_')}_{node.name}_fused"
        copied.add_submodule(name, module)
        modules[name] = module
        node.target = name

    def swallow(node: fx.Node, into: fx.Node) -> None:
        node.replace_all_uses_with(into)
        copied.graph.erase_node(node)

    def relu_after(node: fx.Node) -> fx.Node | None:
        follower = next(iter(node.users)) if len(node.users) == 1 else None
        if follower is None:
            return None
        is_relu = isinstance(module_of(follower), nn.ReLU) or (
            follower.op == "call_function" and follower.target in RELUS
        )
        return follower if is_relu else None

    def makers_of(norm: fx.Node, scale: Tensor) -> dict[fx.Node, list[fx.Node]] | None:
        """Return which convolutions a normalised map is made of, and who else sees their results.

        There are none unless they can scale: whoever else sees a result must be able to divide.
        """
        before: Any = norm.args[0]
        nodes = before.args if before.target in SUMS and not before.kwargs else (before,)
        even = float(scale.abs().min()) > _EVEN * float(scale.abs().max())
        makers: dict[fx.Node, list[fx.Node]] = {}
        for node in nodes:
            if not isinstance(module_of(node), nn.Conv2d):
                return None
            makers[node] = [user for user in node.users if user not in (before, norm)]
            if any(type(module_of(other)) is not Affine or not even for other in makers[node]):
                return None
        # What is added to the result is nobody else's business, and must be added once.
        apart = set(before.users) == {norm} or before in makers
        once = len(makers) == len(nodes) and [] in makers.values()
        return makers if apart and once else None

    for node in list(copied.graph.nodes):
        norm = module_of(node)
        if isinstance(norm, Normalize):
            put(node, Standardised(1 / norm.std, -norm.mean / norm.std))
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        scale, shift = _affine(norm)
        makers = makers_of(node, scale)
        if makers is None:
            put(node, Affine(scale, shift))
            continue
        added: Tensor | None = shift
        for maker, others in makers.items():
            layer = module_of(maker)
            assert isinstance(layer, nn.Conv2d)
            put(maker, _scaled(layer, scale, None if others else added))
            added = added if others else None
            for other in others:
                seen = module_of(other)
                assert isinstance(seen, Affine)
                put(other, Affine(seen.scale.flatten() / scale, seen.shift))
        swallow(node, node.args[0])
    for node in list(copied.graph.nodes):
        module = module_of(node)
        if isinstance(module, nn.Conv2d) or type(module) is Affine:
            relu = relu_after(node)
            if isinstance(module, Affine):
                module.relu = relu is not None
            else:
                assert isinstance(module, nn.Conv2d)
                put(node, Convolution(module, relu is not None))
            if relu is not None:
                swallow(relu, node)
        elif isinstance(module, nn.Linear):
            put(node, Classifier(module))
    copied.graph.eliminate_dead_code()
    copied.graph.lint()
    copied.delete_all_unused_submodules()
    copied.recompile()


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return what batch normalisation multiplies by and adds in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach()


def _scaled(layer: nn.Conv2d, scale: Tensor, shift: Tensor | None) -> nn.Conv2d:
    """Return a convolution whose results are multiplied, and perhaps added to, by channel."""
    scaled = copy.deepcopy(layer)
    scaled.weight = nn.Parameter(layer.weight.detach() * scale.view(-1, 1, 1, 1))
    bias = None if layer.bias is None else layer.bias.detach() * scale
    if shift is not None:
        bias = shift if bias is None else bias + shift
    scaled.bias = None if bias is None else nn.Parameter(bias)
    return scaled
