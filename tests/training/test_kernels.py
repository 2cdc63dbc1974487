"""Compiled kernels train the same network to the bit each time, and wrong ones are not taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datacurate.errors import TrainingError
from datacurate.recipes import PROFILE_RECIPES, Attack, Execution, Model, Training
from datacurate.training import devices
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.history import EpochReport
from datacurate.training.kernels import KernelChoice, choose_kernels
from datacurate.training.loop import fit
from datacurate.training.methods import METHODS, SINGLE_STEP, method
from datacurate.workers.workspace import kernel_trials, open_workspace

COMPILED = Execution(device="cpu", dtype="float32", threads=1, kernels="compiled")
OPEN = Execution(device="cpu", dtype="float32", threads=1)


@pytest.fixture
def tiny(training: Training) -> Training:
    return replace(training, model=Model("cnn-small", width=4))


@pytest.fixture
def long(tiny: Training) -> Training:
    """So many epochs that kernels are tried."""
    return replace(tiny, epochs=2000)


def test_compiled_and_interrupted_it_ends_in_the_same_bits(
    tiny: Training, digits: TrainingData, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(history: list[EpochReport]) -> None:
        if len(history) == 2:
            raise Stop

    assert len(digits.rows) % tiny.optimizer.batch_size  # the last batch is short
    whole = fit(tiny, COMPILED, digits, 3, tmp_path / "whole.pt")
    with pytest.raises(Stop):
        fit(tiny, COMPILED, digits, 3, tmp_path / "parts.pt", stop)
    parts = fit(tiny, COMPILED, digits, 3, tmp_path / "parts.pt")
    assert np.array_equal(parts.record.correct, whole.record.correct)
    assert np.array_equal(parts.record.margin, whole.record.margin)
    assert all(torch.equal(parts.last[key], whole.last[key]) for key in whole.last)
    # The state is that of the plain network: an eager training has the same names in it.
    eager = fit(tiny, replace(COMPILED, kernels="eager"), digits, 3, tmp_path / "eager.pt")
    assert whole.last.keys() == eager.last.keys()
    np.testing.assert_allclose(whole.history[0].loss, eager.history[0].loss, rtol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_makes_the_same_step_compiled(
    name: Any, tiny: Training, digits: TrainingData
) -> None:
    attack = Attack(steps=1) if name in SINGLE_STEP else Attack(steps=2)
    objective = replace(tiny.objective, tracking_steps=2)
    chosen = replace(tiny, method=name, attack=attack, objective=objective)
    # Laid out as training batches are, so that graphs compiled before serve.
    chance = torch.Generator().manual_seed(3)
    x = torch.rand(128, 8, 8, 1, generator=chance).permute(0, 3, 1, 2)
    y = torch.arange(128) % 10
    found = []
    for execution in (replace(COMPILED, kernels="eager"), COMPILED):
        with devices.deterministic(execution):
            net = initial_network(chosen, digits, 0).train()
            model = net if execution.kernels == "eager" else devices.compiled(net, execution)
            step = method(name)(model, x, y, chosen, torch.Generator().manual_seed(1))
            step.loss.backward()  # type: ignore[no-untyped-call]
        assert net.training
        assert all(p.requires_grad for p in net.parameters())
        found.append((step, net))
    (eager, plain), (compiled, net) = found
    torch.testing.assert_close(compiled.loss, eager.loss, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(compiled.recorded, eager.recorded, rtol=1e-2, atol=1e-3)
    for (key, a), b in zip(net.named_parameters(), plain.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert float((a.grad - b.grad).norm()) <= 0.02 * float(b.grad.norm()) + 1e-5, key
    counts = [int(v) for k, v in net.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts == [2 if name in ("trades", "mart") else 1] * 4


class Wrapped(nn.Module):
    """A network behind kernels that do something of their own to its logits."""

    def __init__(self, net: nn.Module, change: Any) -> None:
        super().__init__()
        self.net = net
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.net(x))


@pytest.fixture
def compiles_to(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let compiling give kernels that do a thing to logits."""

    def give(change: Any) -> None:
        monkeypatch.setattr(devices, "compiled", lambda net, execution: Wrapped(net, change))
        monkeypatch.setattr(devices, "compiler_missing", lambda device: None)

    return give


def slow(logits: Tensor) -> Tensor:
    time.sleep(0.3)
    return logits


def broken(logits: Tensor) -> Tensor:
    from torch._dynamo.exc import Unsupported

    raise Unsupported("no such instruction", case_name="test")


def test_good_kernels_are_taken_for_long_trainings_alone(
    tiny: Training, long: Training, digits: TrainingData, compiles_to: Any
) -> None:
    compiles_to(lambda logits: logits)
    asked = replace(OPEN, kernels="compiled")
    taken = choose_kernels(asked, long, digits)
    assert taken.execution == COMPILED
    assert taken.notes == ()
    assert [trial.kernels for trial in taken.trials] == ["eager", "compiled"]
    assert taken.trials[1].logits_error == 0
    assert taken.trials[1].weight_cosine == pytest.approx(1)
    assert choose_kernels(OPEN, tiny, digits) == KernelChoice(replace(COMPILED, kernels="eager"))
    # As many steps in several short runs are worth compiling for.
    assert choose_kernels(OPEN, tiny, digits, units=500).trials


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda logits: logits * 1.01, "wrong"),
        (lambda logits: logits.roll(1, 0), "wrong"),
        (lambda logits: logits * float("nan"), "wrong"),
        (lambda logits: logits.detach() + 0 * logits, "wrong"),  # gradients only
        (slow, "slow"),
        (broken, "cannot be compiled here (no such instruction"),
    ],
    ids=["scaled", "rolled", "nan", "gradients", "slow", "broken"],
)
def test_kernels_that_do_not_hold_give_way_to_eager_ones(
    change: Any, word: str, long: Training, digits: TrainingData, compiles_to: Any
) -> None:
    compiles_to(change)
    found = choose_kernels(OPEN, long, digits)
    assert found.execution == replace(OPEN, kernels="eager")
    assert len(found.notes) == 1
    assert word in found.notes[0]
    stated = found.as_dict()
    assert stated is not None
    assert stated["notes"] == list(found.notes)
    assert stated["trials"][1]["refused"] in found.notes[0]


def test_slow_kernels_that_were_asked_for_are_taken(
    long: Training, digits: TrainingData, compiles_to: Any
) -> None:
    compiles_to(slow)
    assert choose_kernels(replace(OPEN, kernels="compiled"), long, digits).execution == COMPILED


def test_a_resumed_training_that_cannot_compile_any_more_says_so(
    tiny: Training, digits: TrainingData, tmp_path: Path, compiles_to: Any
) -> None:
    compiles_to(broken)
    with pytest.raises(TrainingError, match="cannot be compiled here"):
        fit(tiny, COMPILED, digits, 3, tmp_path / "state.pt")


def test_what_was_tried_is_kept_with_the_state(
    long: Training, digits: TrainingData, tmp_path: Path, compiles_to: Any
) -> None:
    workspace, recipe = tmp_path / "state", PROFILE_RECIPES["smoke"]
    compiles_to(slow)
    tried = choose_kernels(OPEN, long, digits).as_dict()
    assert tried is not None
    with open_workspace(
        workspace, recipe, recipe, {}, tmp_path / "out", force=False, kernels=tried
    ):
        assert kernel_trials(workspace) == tried
    assert kernel_trials(workspace) is None
    assert tried["trials"][1]["step_seconds"] > 0.3


def test_an_error_of_the_training_itself_surfaces(
    long: Training, digits: TrainingData, compiles_to: Any
) -> None:
    def fails(logits: Tensor) -> Tensor:
        raise RuntimeError("the machine is on fire")

    compiles_to(fails)
    with pytest.raises(RuntimeError, match="on fire"):
        choose_kernels(OPEN, long, digits)


def test_wrong_bfloat16_gives_way_to_float32(
    long: Training, digits: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    autocast = devices.autocast

    @contextmanager
    def negating(execution: Execution) -> Iterator[None]:
        with autocast(execution), monkeypatch.context() as patch:
            if execution.dtype == "bfloat16":
                linear = torch.nn.functional.linear
                patch.setattr(torch.nn.functional, "linear", lambda *a: -linear(*a))
            yield

    asked = replace(OPEN, dtype="bfloat16", kernels="eager")
    assert choose_kernels(asked, long, digits).execution == asked
    monkeypatch.setattr(devices, "autocast", negating)
    found = choose_kernels(asked, long, digits)
    assert found.execution == replace(OPEN, dtype="float32", kernels="eager")
    assert "eager bfloat16 kernels are not used: they are wrong here" in found.notes[0]
