from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from datacurate.attacks.acceleration.batchnorm_folding import Affine, fold_batchnorm, quick
from datacurate.attacks.acceleration.input_gradients import explicit_input_gradients
from datacurate.attacks.attacked_model import AttackedModel, Backward
from datacurate.nets import build
from datacurate.recipes import Model
from tests.attacks.networks import Broadcast


def unsettled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network's normalisations statistics and weights that are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, -1.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.3, generator=generator)
    return net.eval().requires_grad_(False)


def of_family(name: str, channels: int = 3) -> nn.Module:
    return unsettled(build(Model(name, 8), 10, channels, (0.4,) * 3, (0.2,) * 3, seed=0))


def images(count: int, channels: int, size: int) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def copy_of(net: nn.Module, x: Tensor, dtype: torch.dtype = torch.float32) -> fx.GraphModule:
    copied = fold_batchnorm(net, x, dtype)
    assert copied is not None
    return copied


def weighted(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return a loss that every logit goes into with a weight of its own, and its gradient."""
    weights = torch.linspace(-1, 2, logits.numel()).view_as(logits)
    return (weights * logits).sum() + logits.square().sum(), weights + 2 * logits


def by_autograd(predict: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    point = x.clone().requires_grad_()
    with torch.enable_grad():
        total = weighted(predict(point))[0]
    return torch.autograd.grad(total, point)[0]


def gradient(made: Callable[[Tensor], tuple[Tensor, Backward]], x: Tensor) -> Tensor:
    logits, backward = made(x)
    return backward(weighted(logits)[1])


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("preact-small", 32),
        ("preact-small", 9),  # no corners of two by two
        ("preact-resnet18", 16),
        ("preact-patch", 16),
        ("wrn-16-2", 8),
        ("cnn-small", 16),
    ],
)
def test_gradients_are_those_of_the_network(name: str, size: int) -> None:
    net, x = of_family(name), images(5, 3, size)
    copied = copy_of(net, x)
    made = explicit_input_gradients(copied, x)
    assert made is not None
    assert relative(gradient(made, x), by_autograd(net, x)) < 2e-5
    assert relative(made(x)[0], net(x)) < 2e-5
    torch.testing.assert_close(made(x)[0], copied(x))


def test_coarse_gradients_are_those_that_autograd_makes_of_the_coarse_copy() -> None:
    net, x = of_family("preact-small"), images(6, 3, 32)
    copied = copy_of(net, x, torch.bfloat16)
    made = explicit_input_gradients(copied, x)
    assert made is not None
    assert relative(gradient(made, x), by_autograd(copied, x)) < 0.02
    assert gradient(made, x).dtype == torch.float32


def test_a_pass_can_be_differentiated_after_another() -> None:
    net, x = of_family("preact-small"), images(6, 3, 16)
    made = explicit_input_gradients(copy_of(net, x), x)
    assert made is not None
    (first, to_first), (second, to_second) = made(x[:3]), made(x[3:])
    for_second = to_second(torch.ones_like(second))
    for_first = to_first(torch.ones_like(first))
    assert torch.equal(to_first(torch.ones_like(first)), for_first)
    alone = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(alone).sum(), alone)
    assert relative(torch.cat([for_first, for_second]), expected) < 2e-5


@pytest.mark.parametrize(("even", "left"), [(True, 1), (False, 2)])
def test_normalisation_after_a_sum_goes_into_both_convolutions(even: bool, left: int) -> None:
    net, x = of_family("preact-small"), images(2, 3, 32)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=torch.Generator().manual_seed(0))
    if not even:
        # What the first sum is multiplied by; the stem, which is added, is normalised as well.
        cast(Any, net).stages[1].norm1.weight[3] = 1e-5
    copied = copy_of(net, x)
    kept = [module for module in copied.modules() if type(module) is Affine]
    assert len(kept) == left
    assert relative(copied(x), net(x)) < 1e-5


class Twisted(nn.Module):
    """Sums that share a map, slices that nothing else looks at, a ReLU of its own, no pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=True)
        self.second = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)
        self.norm = nn.BatchNorm2d(6)
        self.flat = nn.Flatten()
        self.head = nn.Linear(6 * 4 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        one = functional.relu(self.first(x))
        two = self.second(one) + one
        three = torch.relu(self.norm(two)) + two
        logits: Tensor = self.head(self.flat(three[:, :, ::2, ::3] + one[:, :, ::2, ::3]))
        return logits


def test_layers_in_another_order() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = unsettled(Twisted())
    x = images(4, 1, 8)
    made = explicit_input_gradients(copy_of(net, x), x)
    assert made is not None
    assert relative(gradient(made, x), by_autograd(net, x)) < 2e-5


def test_networks_whose_layers_are_not_known_are_left_to_autograd() -> None:
    for net, x in ((Broadcast(8), images(2, 1, 8)), (of_family("vgg11-bn"), images(2, 3, 32))):
        copied = copy_of(net.eval().requires_grad_(False), x)
        assert explicit_input_gradients(copied, x) is None
        cheap = quick(net, copied, torch.float32)
        assert relative(by_autograd(cheap, x), by_autograd(net, x)) < 2e-5
        attacked = AttackedModel(net, cheap, cheap)
        assert relative(gradient(attacked.differentiable, x), by_autograd(net, x)) < 2e-5
