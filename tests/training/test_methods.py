"""Methods: what each crafts, records and leaves behind, against a plain computation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn import functional

from datacurate.attacks.pgd import pgd
from datacurate.attacks.single_step import noisy_fgsm
from datacurate.errors import RecipeError, UnknownNameError
from datacurate.nets import build
from datacurate.recipes import Attack, Model, Objective, Training
from datacurate.training import losses
from datacurate.training.methods import METHODS, SINGLE_STEP, check_method, method

TRAINING = Training(attack=Attack(steps=3), objective=Objective(tracking_steps=4))


def training_for(name: Any) -> Training:
    attack = Attack(steps=1) if name in SINGLE_STEP else TRAINING.attack
    return replace(TRAINING, method=name, attack=attack)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def net() -> nn.Module:
    return build(Model("preact-small", 4), 5, 1, (0.5,), (0.25,), seed=1).train()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(3)
    return torch.rand(12, 1, 8, 8, generator=chance), torch.arange(12) % 5


def counted(net: nn.Module) -> list[int]:
    """How many training forwards each batch normalisation has seen."""
    return [
        int(m.num_batches_tracked)
        for m in net.modules()
        if isinstance(m, nn.BatchNorm2d) and m.num_batches_tracked is not None
    ]


@pytest.mark.parametrize("name", METHODS)
def test_a_step_leaves_the_network_as_it_was_but_for_its_training_forwards(
    name: str, net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    cast(Any, net).stages[0].eval()
    modes = [module.training for module in net.modules()]
    weights = {key: value.clone() for key, value in net.named_parameters()}
    before = torch.random.get_rng_state()
    step = method(name)(net, *batch, training_for(name), noise())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [module.training for module in net.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(weights[key], value) for key, value in net.named_parameters())
    # Crafting and tracking happen in eval mode: only the loss's own forwards are counted.
    forwards = 2 if name in ("trades", "mart") else 1
    assert set(counted(net)) == {0, forwards}  # 0: the stage that was in eval mode
    assert step.recorded.shape == (12, 5)
    assert step.loss.dtype == step.recorded.dtype == torch.float32
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", ["pgd-at", "mart", "gairat", "fgsm-rs"])
def test_correctness_comes_from_the_training_forward_on_pgd_examples(
    name: str, net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    x, y = batch
    training = training_for(name)
    adversarial = pgd(
        net,
        x,
        y,
        radius=8 / 255,
        step=2 / 255,
        steps=training.attack.steps,
        start="uniform",
        generator=noise(),
    )
    expected = copy.deepcopy(net)(adversarial)
    step = method(name)(net, x, y, training, noise())
    torch.testing.assert_close(step.recorded, expected)


def test_trades_attacks_the_prediction_and_records_a_separate_attack_on_the_label(
    net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    x, y = batch
    generator = noise()
    found = method("trades")(copy.deepcopy(net), x, y, training_for("trades"), noise())
    net.eval()
    target = net(x).detach().softmax(1)
    adversarial = x + (torch.rand(x.shape, generator=generator) * 2 - 1) * 8 / 255
    adversarial = adversarial.clamp(0, 1)
    for _ in range(3):
        adversarial.requires_grad_()
        divergence = functional.kl_div(
            net(adversarial).log_softmax(1), target, reduction="batchmean"
        )
        (gradient,) = torch.autograd.grad(divergence, adversarial)
        adversarial = adversarial.detach() + 2 / 255 * gradient.sign()
        adversarial = x + (adversarial - x).clamp(-8 / 255, 8 / 255)
        adversarial = adversarial.clamp(0, 1)
    tracked = pgd(
        net,
        x,
        y,
        radius=8 / 255,
        step=2 / 255,
        steps=4,
        start="uniform",
        generator=generator,
    )
    recorded = net(tracked).detach()
    net.train()
    loss = losses.trades_loss(net(x), net(adversarial), y, 6.0)
    torch.testing.assert_close(found.recorded, recorded)
    torch.testing.assert_close(found.loss, loss, rtol=1e-4, atol=1e-5)
    assert not found.recorded.requires_grad


class Threshold(nn.Module):
    """Class 1 where the mean pixel exceeds one half."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(100.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = self.slope * (x.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([-margin, margin], dim=1)


def test_gairat_counts_right_iterates_from_the_start_on() -> None:
    # Class 1 at 0.5 + distance: from a zero start, step t lies 2t/255 lower.
    distances = torch.tensor([-1.0, 1.0, 3.0, 5.0, 100.0]) / 255
    x = (0.5 + distances).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
    y = torch.ones(5, dtype=torch.int64)
    training = Training(method="gairat", attack=Attack(steps=4, start="zero"))
    kappa = torch.tensor([0, 1, 2, 3, 4])  # iterates 0 … 3 are counted, the last one is not
    weights = losses.gairat_weights(kappa, 4, 0.0)
    net = Threshold()
    step = method("gairat")(net, x, y, training, noise())
    each = functional.cross_entropy(step.recorded, y, reduction="none")
    torch.testing.assert_close(step.loss, (weights * each).mean())


def test_standard_training_records_the_clean_training_forward(
    net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    expected = net(batch[0])
    step = method("standard")(net, *batch, training_for("standard"), noise())
    torch.testing.assert_close(step.recorded, expected)
    torch.testing.assert_close(step.loss, functional.cross_entropy(expected, batch[1]))


def test_n_fgsm_steps_from_noise_and_does_not_project() -> None:
    net = Threshold()
    x = torch.full((6, 1, 4, 4), 0.6)
    y = torch.ones(6, dtype=torch.int64)
    found = noisy_fgsm(net, x, y, noise=16 / 255, step=8 / 255, generator=noise())
    start = 0.6 + (torch.rand(x.shape, generator=noise()) * 2 - 1) * 16 / 255
    torch.testing.assert_close(found, start - 8 / 255)  # down, toward class 0
    assert float((found - x).abs().max()) > 16 / 255
    edge = noisy_fgsm(net, x * 0, y * 0, noise=16 / 255, step=8 / 255, generator=noise())
    assert float(edge.min()) >= 0


def test_the_gaussian_start_is_the_official_one_of_trades() -> None:
    x = torch.full((4, 1, 8, 8), 0.5)
    found = pgd(
        Threshold(), x, x[:, 0, 0, 0].long(), radius=8 / 255, step=0.1, steps=0,
        start="gaussian", generator=noise(),
    )  # fmt: skip
    torch.testing.assert_close(found, x + 0.001 * torch.randn(x.shape, generator=noise()))


@pytest.mark.parametrize("name", SINGLE_STEP)
def test_single_step_methods_refuse_several_steps(name: Any) -> None:
    check_method(Training(method=name, attack=Attack(steps=1)))
    for attack in (Attack(steps=10), Attack(steps=1, start="zero")):
        with pytest.raises(RecipeError, match="one step from a uniform start"):
            check_method(Training(method=name, attack=attack))


def test_unknown_method() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'trades'"):
        method("trade")
