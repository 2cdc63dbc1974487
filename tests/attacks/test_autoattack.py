from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.autoattack import AutoAttack, autoattack
from datacurate.attacks.frozen import frozen
from datacurate.attacks.outcome import CLEAN_WRONG, SURVIVED, AttackOutcome, AttackState
from datacurate.attacks.reference import reference_attacks
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.table import ATTACKS, AttackSpec
from datacurate.errors import DatacurateError, StateError, UnknownNameError, UsageError
from tests.attacks.models import (
    Linear,
    Normed,
    clear_images,
    coarse_linear,
    linear,
    plain,
    worst_margins,
)
from tests.attacks.networks import right_everywhere

RADIUS = 16 / 255
FEW_QUERIES = {"square": 100}


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_finds_the_exact_robust_set_of_a_linear_model(classes: int) -> None:
    model = linear(classes, 64)
    x, y = clear_images(model, 80)
    y[:5] = (y[:5] + 1) % classes
    margins = worst_margins(model, x, y, 6 / 255)
    for suite in ("custom", "standard"):
        settings = AttackSettings(radius_255=6, suite=suite, steps=FEW_QUERIES)
        outcome = autoattack(model, x, y, settings)
        assert np.array_equal(outcome.clean_correct, np.arange(80) >= 5)
        assert (margins[outcome.broken_by >= 0] < 1e-5).all(), "broke what cannot be broken"
        assert outcome.unconfirmed == 0
    # The standard suite has FAB, which solves the linear problem: what it leaves is robust, except
    # for rounding.
    assert (margins[outcome.robust] > -1e-5).all()
    assert 5 < outcome.robust.sum() < 70
    assert outcome.left[-1] == outcome.robust.sum()
    assert all(a >= b for a, b in zip(outcome.left, outcome.left[1:], strict=False))
    assert len(outcome.seconds) == len(outcome.attacks)


@pytest.mark.parametrize("suite", ["custom", "fast", "pgd-20"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_gradient_suites_against_the_exact_robust_set(suite: str, classes: int) -> None:
    model = linear(classes, 64)
    x, y = clear_images(model, 80)
    truth = worst_margins(model, x, y, 6 / 255)
    outcome = autoattack(model, x, y, AttackSettings(radius_255=6, suite=suite))
    assert (truth[outcome.broken_by >= 0] < 1e-5).all()
    missed = np.count_nonzero(truth[outcome.robust] < -1e-5)
    # Cross-entropy alone leads to one class, which need not be the nearest within the pixels.
    assert missed == 0 if suite == "fast" or classes == 2 else missed <= 10
    assert outcome.robust.any()


@pytest.mark.parametrize("suite", ["pgd-10", "pgd-20", "square", "rays", "fast", "standard"])
def test_every_survivor_gets_all_steps(suite: str) -> None:
    model = linear(5, 64)
    x, y = clear_images(model, 40)
    steps = {"square": 60, "rays": 300, "apgd-ce": 12, "apgd-t": 12, "fab-t": 12}
    outcome = autoattack(model, x, y, AttackSettings(radius_255=3, suite=suite, steps=steps))
    assert outcome.robust.any()
    assert outcome.spent is not None
    expected = {"pgd": int(suite[4:]) if suite.startswith("pgd") else 0, "square": 60}
    expected |= {"rays": 300, "apgd-ce": 12, "apgd-t": 48, "fab-t": 48, "runner-up": 20}
    expected |= {"nearest": 4 * 8 + 3 * 40}
    for attack, spent in zip(outcome.attacks, outcome.spent_on_survivors(), strict=True):
        assert spent["steps"] == [expected[attack]] * 2, attack
        if ATTACKS[attack].gradients:
            assert spent["gradients"] == spent["steps"]
    assert (outcome.spent[0][outcome.broken_by >= 0, 0] <= expected[outcome.attacks[0]]).all()


def test_an_example_does_not_depend_on_the_others(
    digits_net: tuple[nn.Module, Tensor, Tensor],
) -> None:
    net, x, y = digits_net[0], digits_net[1][:24], digits_net[2][:24]
    keys = np.arange(24, dtype=np.uint64) + 7
    settings = AttackSettings(radius_255=51, suite="custom")
    whole = autoattack(net, x, y, settings, keys=keys).broken_by
    small = autoattack(net, x, y, replace(settings, batch_size=7), keys=keys).broken_by
    rows = np.arange(23, -1, -3)
    part = autoattack(net, x[rows], y[rows], settings, keys=keys[rows]).broken_by
    # Kernels for other batch sizes round differently, which may change the closest decision.
    assert np.count_nonzero(whole != small) <= 1
    assert np.count_nonzero(whole[rows] != part) <= 1


@pytest.mark.parametrize("implementation", ["own", "package"])
@pytest.mark.parametrize(
    ("attack", "target", "steps"), [("apgd-ce", 0, 30), ("apgd-t", 2, 30), ("square", 0, 100)]
)
def test_an_attack_gives_each_example_its_own_noise(
    attack: str, target: int, steps: int, implementation: str
) -> None:
    # Weights and pixels with few bits add without rounding, so that results are equal.
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (5, 64), generator=generator) / 8
    model = Linear(weight, -(weight * 8).sum(dim=1).round() / 16)
    x, y = clear_images(model, 30)
    keys = np.arange(30, dtype=np.uint64)
    rows = np.arange(2, 30, 3)
    spec = (ATTACKS if implementation == "own" else reference_attacks())[attack]
    with torch.random.fork_rng(devices=[]), torch.no_grad(), frozen(model):
        whole = AttackBatch(plain(model), x, y, RADIUS / 4)
        part = AttackBatch(plain(model), x[rows], y[rows], RADIUS / 4)
        arguments = AttackArguments(steps=steps, keys=keys, seeds=(17,), targets=(target,))
        spec.run(whole, arguments)
        spec.run(part, replace(arguments, keys=keys[rows]))
    assert torch.equal(whole.broken[rows], part.broken)
    assert 0 < part.broken.sum() < 10
    torch.testing.assert_close(whole.candidates[rows], part.candidates)
    assert np.array_equal(whole.steps[rows], part.steps)


def numpy_state() -> Any:
    """Return the words of numpy's global generator."""
    return np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002


def test_leaves_model_and_generators_as_they_were() -> None:
    model = Normed()
    x, y = clear_images(model, 12, channels=3)
    model.train()
    model.body[1].eval()
    model.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    states = torch.get_rng_state(), numpy_state(), random.getstate()
    trace = sys.gettrace()
    outcome = autoattack(model, x, y, AttackSettings(radius_255=4, steps=FEW_QUERIES))
    assert outcome.clean_correct.all()
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(numpy_state(), states[1])
    assert random.getstate() == states[2]
    assert sys.gettrace() is trace


@pytest.mark.parametrize(("batch_size", "saved"), [(20, 1 + 4 + 4 + 1), (36, 1 + 2 + 2 + 1)])
def test_resumes_after_any_pass_to_the_same_outcome(batch_size: int, saved: int) -> None:
    model = linear(5, 64)
    x, y = clear_images(model, 20)
    states: list[str] = []
    calls: list[tuple[str, int, int]] = []
    settings = AttackSettings(radius_255=4, batch_size=batch_size, steps=FEW_QUERIES)
    whole = autoattack(
        model,
        x,
        y,
        settings,
        save=lambda state: states.append(json.dumps(state)),
        progress=lambda *call: calls.append(call),
    )
    assert len(states) == saved
    assert calls[0] == ("apgd-ce", 20, 20)
    for text in states:
        resumed = autoattack(model, x, y, settings, state=json.loads(text))
        assert np.array_equal(resumed.broken_by, whole.broken_by)
    last = autoattack(model, x, y, settings, state=json.loads(states[-1]))
    assert last.seconds == whole.seconds
    state = json.loads(states[0])
    changes: list[dict[str, Any]] = [{"seed": 1}, {"radius_255": 16}, {"suite": "custom"}]
    for change in (*changes, {"steps": {"square": 99}}):
        with pytest.raises(StateError, match="belongs to another"):
            autoattack(model, x, y, replace(settings, **change), state=state)
    with pytest.raises(StateError):
        autoattack(linear(5, 64, seed=9), x, y, settings, state=state)


def test_the_fingerprint_of_saved_states_stays() -> None:
    # States of unfinished work must remain usable: this is what an earlier version wrote.
    x = torch.arange(64, dtype=torch.float32).view(4, 1, 4, 4) / 64
    model = coarse_linear(3, 16)
    y = model(x).argmax(dim=1)
    states: list[AttackState] = []
    settings = AttackSettings(radius_255=4, suite="pgd-10", seed=2)
    autoattack(model, x, y, settings, save=states.append)
    assert states[-1]["fingerprint"] == "dfc765ffd04ce0d9"
    assert set(states[-1]) == {
        "fingerprint", "passes", "broken_by", "seconds", "unconfirmed", "spent"
    }  # fmt: skip


def test_memory_layout_does_not_matter() -> None:
    model = Normed()
    x, y = clear_images(model, 12, channels=3)
    channels_last = x.to(memory_format=torch.channels_last)
    settings = AttackSettings(radius_255=4, steps=FEW_QUERIES)
    first, second = (
        autoattack(model, images, y, settings).broken_by for images in (x, channels_last)
    )
    assert np.array_equal(first, second)
    assert (first == SURVIVED).any(), "every attack must have had something to do"


def shifting(shift: float) -> dict[str, AttackSpec]:
    """Return attacks that claim to break every example by adding a number to its pixels."""

    def run(batch: AttackBatch, arguments: AttackArguments) -> None:
        batch.candidates = batch.x + shift
        batch.broken[:] = True

    return {name: replace(spec, run=run) for name, spec in ATTACKS.items()}


def test_adversarial_examples_are_confirmed() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 10)
    x = x / 2 + 0.25
    y = model(x).argmax(dim=1)

    def outcome(shift: float, **changes: Any) -> AttackOutcome:
        settings = replace(AttackSettings(radius_255=16, suite="custom"), **changes)
        return AutoAttack(model, x, y, settings, attacks=shifting(shift)).run()

    assert (outcome(0.0).broken_by == SURVIVED).all()
    unconfirmed = outcome(0.0).unconfirmed
    assert unconfirmed == 10 * 2, "APGD-CE, and three targets of APGD-T at a time"
    assert outcome(0.0, batch_size=10).unconfirmed == 10 * 4, "one target at a time"
    with pytest.raises(DatacurateError, match="apgd-ce claims adversarial examples"):
        outcome(2 * RADIUS)
    with pytest.raises(DatacurateError, match="not allowed"):
        outcome(0.3, radius_255=127.5)
    with pytest.raises(DatacurateError, match="not allowed"):
        outcome(float("nan"))


class Altered(nn.Module):
    """A linear model whose logits are changed by a function."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.change = linear(4, 64), change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.inner(x))


def test_refuses_models_and_data_that_mean_nothing() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 8)
    settings = AttackSettings(radius_255=16, suite="custom")
    with pytest.raises(DatacurateError, match="not finite"):
        autoattack(Altered(lambda z: z / 0), x, y, settings)
    with pytest.raises(DatacurateError, match="a second time"):
        autoattack(Altered(lambda z: z + torch.rand_like(z)), x, y, settings)
    with pytest.raises(UsageError, match="labels"):
        autoattack(model, x, y + 4, settings)
    with pytest.raises(UsageError, match="pixels"):
        autoattack(model, x * 255, y, settings)
    with pytest.raises(UsageError, match="fit together"):
        autoattack(model, x, y[:4], settings)
    with pytest.raises(UsageError, match="fit together"):
        autoattack(model, x[:0], y[:0], settings)


def test_refuses_settings_that_mean_nothing() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 8)
    with pytest.raises(UnknownNameError, match="theirs"):
        autoattack(model, x, y, AttackSettings(implementation="theirs"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not have") as caught:
        autoattack(model, x, y, AttackSettings(suite="rays", implementation="package"))
    assert caught.value.got == "rays"


def test_warns_of_probabilities() -> None:
    x, y = clear_images(linear(4, 64), 8)
    model = Altered(lambda z: z.softmax(dim=1))
    outcome = autoattack(model, x, y, AttackSettings(radius_255=16, suite="custom"))
    assert "probabilities" in outcome.warnings[0]


def test_nothing_to_attack() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 8)
    outcome = autoattack(model, x, (y + 1) % 4, AttackSettings(radius_255=16))
    assert (outcome.broken_by == CLEAN_WRONG).all()
    assert outcome.left == (0, 0, 0, 0)


class WithoutSecondSearch(AutoAttack):
    """The suite without the float32 search after one in bfloat16."""

    def attacked_model(self, network: nn.Module, sample: Tensor) -> AttackedModel:
        model = super().attacked_model(network, sample)
        return replace(model, float32=None, rounding_error=0.0)


def test_what_bfloat16_may_have_missed_is_attacked_again() -> None:
    net, x, y = right_everywhere(400)
    missed = {AutoAttack: 0, WithoutSecondSearch: 0}
    for radius in (0.002, 0.003):
        settings = AttackSettings(radius_255=255 * radius, suite="custom")
        exact = autoattack(net, x, y, settings)
        assert exact.spent is not None
        for kind in missed:
            outcome = kind(net, x, y, replace(settings, dtype="bfloat16")).run()
            assert outcome.spent is not None
            missed[kind] += int(np.count_nonzero(exact.robust != outcome.robust))
            more = outcome.spent.sum(axis=(0, 2)) > exact.spent.sum(axis=(0, 2))
            again = more & exact.robust
            assert again.any() == (kind is AutoAttack)
            assert again.sum() < outcome.robust.sum() / 2
    assert missed[AutoAttack] <= 1
    assert missed[WithoutSecondSearch] > missed[AutoAttack]


class DependsOnInput(nn.Module):
    """A network with a branch that depends on its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Normed()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(x)
        return logits if x.mean() > 0.1 else -logits


def test_networks_that_cannot_be_traced_are_attacked_as_they_are() -> None:
    model = DependsOnInput().eval()
    x, y = clear_images(model, 12, channels=3)
    settings = AttackSettings(radius_255=4, suite="custom")
    whole = autoattack(model, x, y, settings)
    inner = autoattack(model.inner, x, y, settings)
    assert np.array_equal(whole.broken_by, inner.broken_by)
