from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from datacurate.attacks.frozen import frozen
from datacurate.attacks.pgd import pgd
from datacurate.errors import UsageError
from datacurate.recipes.fields import Start
from tests.attacks.models import Linear, Normed, linear, worst_margins

RADIUS, STEP = 8 / 255, 2 / 255


def pixels(n: int = 16, channels: int = 3, size: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def labels(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        predicted: torch.Tensor = model(x).argmax(dim=1)
    return predicted


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("start", ["uniform", "zero"])
def test_reaches_the_optimum_of_a_linear_model(start: Start) -> None:
    model = linear(2, 3 * 64)
    x = (pixels() * 3 - 1).clamp(0, 1)  # a third of the pixels at each end, so clipping matters
    y = labels(model, x)
    adversarial = pgd(
        model, x, y, radius=RADIUS, step=STEP, steps=10, start=start, generator=noise()
    )
    logits = model(adversarial).detach().double().numpy()
    reached = logits[np.arange(len(y)), y] - logits[np.arange(len(y)), 1 - y]
    np.testing.assert_allclose(reached, worst_margins(model, x, y, RADIUS), atol=1e-4)


@pytest.mark.parametrize("start", ["uniform", "zero"])
@pytest.mark.parametrize("steps", [0, 1, 10])
def test_stays_in_the_ball_and_the_pixel_range(start: Start, steps: int) -> None:
    x = (pixels() * 3 - 1).clamp(0, 1)
    adversarial = pgd(
        Normed(),
        x,
        torch.zeros(16, dtype=torch.int64),
        radius=RADIUS,
        step=STEP,
        steps=steps,
        start=start,
        generator=noise(),
    )
    assert adversarial.dtype == torch.float32
    assert not adversarial.requires_grad
    assert (adversarial - x).abs().max() <= RADIUS + 1e-6
    assert 0 <= adversarial.min() <= adversarial.max() <= 1


def test_a_zero_start_is_not_random_and_a_uniform_start_uses_its_generator() -> None:
    model, x, y = Normed(), pixels(), torch.zeros(16, dtype=torch.int64)
    settings: dict[str, Any] = {"radius": RADIUS, "step": STEP, "steps": 3}
    zero = [pgd(model, x, y, start="zero", **settings) for _ in range(2)]
    assert torch.equal(zero[0], zero[1])
    assert torch.equal(pgd(model, x, y, start="zero", radius=RADIUS, step=STEP, steps=0), x)
    same = [pgd(model, x, y, start="uniform", generator=noise(3), **settings) for _ in range(2)]
    assert torch.equal(same[0], same[1])
    other = pgd(model, x, y, start="uniform", generator=noise(4), **settings)
    assert not torch.equal(same[0], other)
    with pytest.raises(UsageError, match="generator"):
        pgd(model, x, y, start="uniform", **settings)


def test_uniform_start_fills_the_ball() -> None:
    x = torch.full((64, 3, 8, 8), 0.5)
    start = pgd(
        Normed(), x, x, radius=RADIUS, step=STEP, steps=0, start="uniform", generator=noise()
    )
    delta = ((start - x) / RADIUS).flatten()
    # Moments of the uniform distribution on [−1, 1], at five standard errors of 12,288 draws.
    assert abs(delta.mean()) < 5 / (3 * len(delta)) ** 0.5
    assert abs(delta.square().mean() - 1 / 3) < 5 * (4 / 45 / len(delta)) ** 0.5


def test_leaves_model_and_generators_as_they_were() -> None:
    model, x, y = Normed(), pixels(), torch.zeros(16, dtype=torch.int64)
    model.body[1].eval()  # a part frozen by its owner
    model.head.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),  # type: ignore[index]  # noqa: NPY002
        random.getstate(),
    )
    pgd(model, x, y, radius=RADIUS, step=STEP, steps=3, start="uniform", generator=noise())
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert all(p.grad is None for p in model.body.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    numpy_after = np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002
    assert np.array_equal(numpy_after, numpy_state)
    assert random.getstate() == python_state


def test_frozen_restores_after_an_error() -> None:
    model = Normed()

    def fail() -> None:
        with frozen(model):
            assert not model.body.training
            assert not any(p.requires_grad for p in model.parameters())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_ascends_any_loss() -> None:
    weight = torch.eye(4)[:, :, None].expand(4, 4, 48).reshape(4, 192) / 48
    model = Linear(weight, torch.zeros(4))
    x = torch.full((2, 3, 8, 8), 0.5)
    raised = pgd(
        model,
        x,
        x,
        radius=RADIUS,
        step=STEP,
        steps=10,
        start="zero",
        loss=lambda logits, _: logits[:, 2].sum(),
    )
    expected = x.flatten(1).clone()
    expected[:, 96:144] += RADIUS
    torch.testing.assert_close(raised.flatten(1), expected)


def test_iterates_stay_float32_under_autocast() -> None:
    model, x = Normed(), pixels() / 2 + 0.25  # no pixel reaches the end of its range
    y = torch.zeros(16, dtype=torch.int64)
    settings: dict[str, Any] = {"radius": RADIUS, "step": STEP, "steps": 3, "start": "zero"}
    exact = pgd(model, x, y, **settings)
    with torch.autocast("cpu", torch.bfloat16):
        lower = pgd(model, x, y, **settings)
    assert lower.dtype == torch.float32
    # Iterates in bfloat16 would be off the grid of x ± k·2/255 by up to 1/512.
    steps = (lower - x) / STEP
    assert (steps - steps.round()).abs().max() < 1e-4
    assert (torch.sign(exact - x) == torch.sign(lower - x)).float().mean() > 0.9


def test_keeps_the_memory_layout() -> None:
    x = pixels().to(memory_format=torch.channels_last)
    y = torch.zeros(16, dtype=torch.int64)
    adversarial = pgd(
        Normed(), x, y, radius=RADIUS, step=STEP, steps=1, start="uniform", generator=noise()
    )
    assert adversarial.is_contiguous(memory_format=torch.channels_last)
