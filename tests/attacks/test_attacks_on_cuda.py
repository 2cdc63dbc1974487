"""Tests of the attacks that need a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from datacurate.attacks.acceleration.cuda_graphs import RecordedFunction
from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.settings import AttackSettings
from datacurate.evaluation import evaluate
from datacurate.nets import build
from datacurate.recipes import Execution, Model
from datacurate.recipes.fields import DType
from datacurate.training import devices
from tests.attacks.networks import right_everywhere

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_verdicts_and_work_are_those_of_the_cpu(dtype: DType) -> None:
    net, x, y = right_everywhere(60)
    settings = AttackSettings(radius_255=1.02, dtype=dtype)
    on_cpu = autoattack(net, x, y, settings)
    net.cuda()
    first, again = (autoattack(net, x, y, settings) for _ in range(2))
    assert first.spent is not None
    assert again.spent is not None
    assert np.array_equal(first.clean_correct, on_cpu.clean_correct)
    # Another order of summation changes only close decisions.
    assert np.count_nonzero(first.robust != on_cpu.robust) <= 2
    assert 6 <= first.robust.sum() <= 54
    survivors = first.robust
    for attack, spent in zip(first.attacks, first.spent_on_survivors(), strict=True):
        steps = {"apgd-ce": 100, "apgd-t": 900, "fab-t": 900, "square": 5000}[attack]
        assert (first.spent[first.attacks.index(attack), survivors, 0] == steps).all(), spent
    assert np.array_equal(first.broken_by, again.broken_by)
    assert np.array_equal(first.spent, again.spent)
    assert next(net.parameters()).is_cuda


@pytest.mark.parametrize(
    "suite", ["custom", "fast", "pgd-20", "square", "rays", "transfer", "package"]
)
def test_every_suite_runs_where_only_deterministic_kernels_may(
    suite: str,
) -> None:
    net, x, y = right_everywhere(40)
    images = (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
    settings = AttackSettings(
        radius_255=1.0,
        suite="standard" if suite == "package" else suite,
        implementation="package" if suite == "package" else "own",
        steps={"square": 100, "rays": 100},
    )
    with devices.deterministic(devices.resolve(Execution(device="cuda"))) as device:
        net.to(device)
        if suite == "transfer":
            settings = replace(settings, surrogate=net)
        first, again = (evaluate(net, images, y.numpy(), settings) for _ in range(2))
    assert first.device.startswith("cuda")
    assert np.array_equal(first.outcome.broken_by, again.outcome.broken_by)
    assert np.array_equal(first.pgd10, again.pgd10)
    assert first.outcome.robust.sum() < first.outcome.clean_correct.sum()


def test_residual_networks_break_in_bfloat16_as_in_float32() -> None:
    net = build(Model("preact-small", 8), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0).eval().cuda()
    x = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = net(x.cuda()).argmax(dim=1).cpu()
    settings = AttackSettings(radius_255=0.51, suite="custom")
    exact = autoattack(net, x, y, settings)
    in_bfloat16 = autoattack(net, x, y, replace(settings, dtype="bfloat16"))
    assert 15 <= exact.robust.sum() <= 285
    assert np.count_nonzero(exact.robust != in_bfloat16.robust) <= 6


def test_recorded_functions_give_what_they_did_whatever_the_batch() -> None:
    net = build(Model("preact-small", 8), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0).eval().cuda()
    net.requires_grad_(False)
    asked = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        logits: torch.Tensor = net(x)
        return logits

    recorded = RecordedFunction(counted)
    pixels = torch.rand(300, 3, 32, 32, generator=torch.Generator().manual_seed(0)).cuda()
    kept = []
    for count in (200, 7, 16, 199, 5, 200, 300):
        x = pixels[:count].clone().requires_grad_()
        logits, expected = recorded(x), net(x)
        torch.testing.assert_close(logits, expected, rtol=0.01, atol=0.01)
        weights = torch.linspace(-1, 1, expected.numel(), device="cuda").view_as(expected)
        with torch.no_grad():
            recorded(pixels[:count])  # passes without a gradient may come between
        gradients = [torch.autograd.grad(given, x, weights)[0] for given in (logits, expected)]
        # Another size of batch has other kernels, and TensorFloat-32 rounds otherwise in each.
        assert (gradients[0] - gradients[1]).norm() <= 0.05 * gradients[1].norm()
        kept.append((logits, logits.detach().clone(), gradients[0], gradients[0].clone()))
    # Nothing that was returned is written again.
    for logits, then, gradient, before in kept:
        assert torch.equal(logits, then)
        assert torch.equal(gradient, before)
    calls = len(asked)
    assert set(asked) == {16, 256, 384}
    head = net.get_submodule("head")
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        for bias in (0.0, 1.0):
            head.bias.fill_(bias)
            torch.testing.assert_close(recorded(pixels[:9]), net(pixels[:9]), rtol=0.01, atol=0.01)
    assert len(asked) == calls
    recorded(pixels[:200].requires_grad_())
    assert len(asked) == calls
    recorded(pixels[:300])
    assert len(asked) == calls + 1, "larger batches are not recorded"


def test_what_cannot_be_recorded_is_called() -> None:
    def looking(x: torch.Tensor) -> torch.Tensor:
        scale = float(x.sum())  # a recording cannot wait for a number
        return scale * x.flatten(1)

    recorded = RecordedFunction(looking)
    for value in (1.0, 2.0):
        x = torch.full((3, 1, 2, 2), value, device="cuda")
        expected = looking(torch.cat([x, x.new_zeros(13, 1, 2, 2)]))[:3]
        assert torch.equal(recorded(x), expected)
    # What follows is none the worse for it.
    torch.cuda.empty_cache()
    asked = []

    def doubled(x: torch.Tensor) -> torch.Tensor:
        asked.append(len(x))
        return 2 * x.flatten(1)

    again = RecordedFunction(doubled)
    for value in (1.0, 2.0, 3.0):
        x = torch.full((3, 1, 2, 2), value, device="cuda")
        assert torch.equal(again(x), 2 * x.flatten(1))
    calls = len(asked)
    again(x)
    assert len(asked) == calls
    assert torch.rand(3, device="cuda").isfinite().all()


def test_a_recording_that_does_not_repeat_is_not_used() -> None:
    weight = torch.ones(4, device="cuda")

    def moving(x: torch.Tensor) -> torch.Tensor:
        nonlocal weight
        weight = weight + 1  # another tensor each time, which a recording does not see
        return weight * x.flatten(1)

    recorded = RecordedFunction(moving)
    x = torch.ones(16, 1, 2, 2, device="cuda")
    first, second = recorded(x), recorded(x)
    assert torch.equal(second, first + 1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("suite", ["pgd-20", "custom", "fast"])
def test_no_attack_is_weaker_than_on_the_cpu(suite: str, dtype: DType) -> None:
    net = build(Model("preact-small", 8), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0).eval()
    x = torch.rand(120, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = net(x).argmax(dim=1)
    settings = AttackSettings(radius_255=0.51, suite=suite)
    on_cpu = autoattack(net, x, y, settings)
    on_gpu = autoattack(net.cuda(), x, y, replace(settings, dtype=dtype))
    assert 12 <= on_cpu.robust.sum() <= 108
    assert np.count_nonzero(on_cpu.robust != on_gpu.robust) <= 3
