"""Cheaper copies of a network for attacks: batch normalisation folded, perhaps in bfloat16.

In eval mode, batch normalisation multiplies and adds once per channel. After a convolution, or a
sum of two, this is folded into the weights. Elsewhere it becomes one pass over the features,
together with the ReLU that follows. A copy whose logits differ from the network's is not used.
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
"""Functions that add two feature maps, or a feature map and a number."""

RELUS = (functional.relu, torch.relu)

_FLOAT32_ERROR = 1e-4  # allowed difference of logits, relative to the largest, in float32
_BFLOAT16_ERROR = 0.1  # and in bfloat16
_EVEN = 0.01  # smallest scale, relative to the largest, that a consumer may divide by


class Affine(nn.Module):
    """A scale and a shift per channel, perhaps followed by a ReLU.

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


def fold_batchnorm(model: nn.Module, sample: Tensor, dtype: torch.dtype) -> fx.GraphModule | None:
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
        _Folding(copied).fold()
        for module in copied.modules():
            if isinstance(module, Convolution) or type(module) is Affine:
                module.to(dtype)
        copied = copied.to(memory_format=torch.channels_last).requires_grad_(False)
        with torch.no_grad(), full_float32(sample.device):
            expected, got = model(sample).float(), copied(sample).float()
    # A network may do anything that cannot be traced or folded. Then there is no copy.
    except Exception:
        return None
    relative = _FLOAT32_ERROR if dtype == torch.float32 else _BFLOAT16_ERROR
    allowed = relative * float(expected.abs().max())
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


class _Folding:
    """Folds batch normalisation and ReLU of a copied network into the layers before them.

    Parameters
    ----------
    copied : GraphModule
        Changed in place.
    """

    def __init__(self, copied: fx.GraphModule) -> None:
        self._copied = copied
        self._modules = dict(copied.named_modules())

    def fold(self) -> None:
        """Fold all batch normalisations, then all ReLUs, and remove what is no longer used."""
        for node in list(self._copied.graph.nodes):
            self._fold_normalisation(node)
        for node in list(self._copied.graph.nodes):
            self._fold_relu(node)
        self._copied.graph.eliminate_dead_code()
        self._copied.graph.lint()
        self._copied.delete_all_unused_submodules()
        self._copied.recompile()

    def _module(self, node: Any) -> nn.Module | None:
        """Return the module that a node calls, or None."""
        is_module = isinstance(node, fx.Node) and node.op == "call_module"
        return self._modules[str(node.target)] if is_module else None

    def _replace(self, node: fx.Node, module: nn.Module) -> None:
        name = f"{str(node.target).replace('.', '_')}_{node.name}_fused"
        self._copied.add_submodule(name, module)
        self._modules[name] = module
        node.target = name

    def _merge(self, node: fx.Node, into: fx.Node) -> None:
        node.replace_all_uses_with(into)
        self._copied.graph.erase_node(node)

    def _fold_normalisation(self, node: fx.Node) -> None:
        """Fold a batch normalisation into the convolutions before it, or make it one affine map."""
        norm = self._module(node)
        if isinstance(norm, Normalize):
            self._replace(node, Standardised(1 / norm.std, -norm.mean / norm.std))
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            return
        scale, shift = _affine(norm)
        convolutions = self._convolutions_before(node, scale)
        if convolutions is None:
            self._replace(node, Affine(scale, shift))
            return
        bias: Tensor | None = shift
        for convolution, consumers in convolutions.items():
            layer = self._module(convolution)
            assert isinstance(layer, nn.Conv2d)
            self._replace(convolution, _scaled(layer, scale, None if consumers else bias))
            bias = bias if consumers else None
            for consumer in consumers:
                affine = self._module(consumer)
                assert isinstance(affine, Affine)
                self._replace(consumer, Affine(affine.scale.flatten() / scale, affine.shift))
        before = node.args[0]
        assert isinstance(before, fx.Node)
        self._merge(node, before)

    def _convolutions_before(
        self, norm: fx.Node, scale: Tensor
    ) -> dict[fx.Node, list[fx.Node]] | None:
        """Return the convolutions whose sum is normalised, each with its other consumers.

        Return None if the normalisation cannot be folded: another consumer of a convolution must be
        an affine map that can divide by the scale.
        """
        before: Any = norm.args[0]
        nodes = before.args if before.target in SUMS and not before.kwargs else (before,)
        even = float(scale.abs().min()) > _EVEN * float(scale.abs().max())
        convolutions: dict[fx.Node, list[fx.Node]] = {}
        for node in nodes:
            if not isinstance(self._module(node), nn.Conv2d):
                return None
            consumers = [user for user in node.users if user not in (before, norm)]
            if any(type(self._module(user)) is not Affine or not even for user in consumers):
                return None
            convolutions[node] = consumers
        # Fold only if the sum has no other consumer, so the bias is added once.
        alone = set(before.users) == {norm} or before in convolutions
        once = len(convolutions) == len(nodes) and [] in convolutions.values()
        return convolutions if alone and once else None

    def _fold_relu(self, node: fx.Node) -> None:
        """Put the ReLU after a convolution or an affine map into it."""
        module = self._module(node)
        if isinstance(module, nn.Linear):
            self._replace(node, Classifier(module))
        if not isinstance(module, nn.Conv2d) and type(module) is not Affine:
            return
        relu = self._relu_after(node)
        if isinstance(module, Affine):
            module.relu = relu is not None
        else:
            assert isinstance(module, nn.Conv2d)
            self._replace(node, Convolution(module, relu is not None))
        if relu is not None:
            self._merge(relu, node)

    def _relu_after(self, node: fx.Node) -> fx.Node | None:
        """Return the ReLU that is the only consumer of a node, or None."""
        consumer = next(iter(node.users)) if len(node.users) == 1 else None
        if consumer is None:
            return None
        is_relu = isinstance(self._module(consumer), nn.ReLU) or (
            consumer.op == "call_function" and consumer.target in RELUS
        )
        return consumer if is_relu else None


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch normalisation in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach()


def _scaled(layer: nn.Conv2d, scale: Tensor, shift: Tensor | None) -> nn.Conv2d:
    """Return a convolution whose output is scaled, and perhaps shifted, per channel."""
    scaled = copy.deepcopy(layer)
    scaled.weight = nn.Parameter(layer.weight.detach() * scale.view(-1, 1, 1, 1))
    bias = None if layer.bias is None else layer.bias.detach() * scale
    if shift is not None:
        bias = shift if bias is None else bias + shift
    scaled.bias = None if bias is None else nn.Parameter(bias)
    return scaled
