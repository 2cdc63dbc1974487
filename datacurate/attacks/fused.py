"""Cheaper copies of a network for searching: folded batch normalisation, fewer bits.

In eval mode batch normalisation is one multiplication and one addition per channel. After a
convolution they go into its weights; elsewhere they become one pass over the features, together
with the activation that follows. A copy that does not give the network's own logits is not used.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from datacurate.attacks.budget import Predict
from datacurate.nets.normalization import Normalize

_SAME = 1e-4  # difference from the network's logits, relative to the largest, of a float32 copy
_SIMILAR = 0.1  # and of a bfloat16 copy
_SAMPLE = 16  # images on which copies are compared


class Affine(nn.Module):
    """A multiplication and an addition per channel, and perhaps a ReLU after them."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d, relu: bool) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight
        shift = -norm.running_mean * scale
        shift = shift if norm.bias is None else shift + norm.bias
        self.register_buffer("scale", scale.detach().view(1, -1, 1, 1))
        self.register_buffer("shift", shift.detach().view(1, -1, 1, 1))
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of `x`, (B, C, H, W)."""
        out = torch.addcmul(self.shift, x, self.scale)
        return out.relu_() if self.relu else out


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
    sample = sample[:_SAMPLE]
    try:
        tracer = _Tracer()
        graph = tracer.trace(copy.deepcopy(model).eval())
        copied = fx.GraphModule(tracer.root, graph)
        _fold(copied)
        for module in copied.modules():
            if isinstance(module, Affine | Convolution):
                module.to(dtype)
        copied = copied.to(memory_format=torch.channels_last).requires_grad_(False)
        with torch.no_grad():
            expected, got = model(sample).float(), copied(sample).float()
    # Whatever a stranger's network does that cannot be traced or folded: there is no copy of it.
    except Exception:
        return None
    allowed = (_SAME if dtype == torch.float32 else _SIMILAR) * float(expected.abs().max())
    if got.shape != expected.shape or not float((got - expected).abs().max()) <= allowed:
        return None
    return copied


def quick(model: nn.Module, copied: fx.GraphModule | None, dtype: torch.dtype) -> Predict:
    """Return the cheapest differentiable logits of a network in a type: a copy's, or its own."""

    def predict(x: Tensor) -> Tensor:
        if copied is not None:
            logits: Tensor = copied(x.contiguous(memory_format=torch.channels_last))
            return logits.float()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(x)
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
            follower.op == "call_function" and follower.target in (functional.relu, torch.relu)
        )
        return follower if is_relu else None

    for node in list(copied.graph.nodes):
        norm = module_of(node)
        before = node.args[0] if node.args else None
        layer = module_of(before)
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None:
            continue
        if isinstance(layer, nn.Conv2d) and isinstance(before, fx.Node) and len(before.users) == 1:
            put(before, fuse_conv_bn_eval(layer, norm))
            swallow(node, before)
        else:
            put(node, Affine(norm, relu=False))
    for node in list(copied.graph.nodes):
        module = module_of(node)
        if isinstance(module, nn.Conv2d | Affine):
            relu = relu_after(node)
            if isinstance(module, Affine):
                module.relu = relu is not None
            else:
                put(node, Convolution(module, relu is not None))
            if relu is not None:
                swallow(relu, node)
        elif isinstance(module, nn.Linear):
            put(node, Classifier(module))
    copied.graph.eliminate_dead_code()
    copied.graph.lint()
    copied.delete_all_unused_submodules()
    copied.recompile()
