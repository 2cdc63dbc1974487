"""What only a GPU can show; everything else about training is tested on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from datacurate.recipes import Execution, Training
from datacurate.recipes.fields import MethodName
from datacurate.training import devices, kernels
from datacurate.training.examples import TrainingData
from datacurate.training.loop import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def test_the_same_seed_gives_the_same_bits_and_learns(
    training: Training, digits: TrainingData, tmp_path: Path
) -> None:
    execution = devices.resolve(Execution())
    assert execution.device == "cuda"
    longer = replace(training, epochs=8)
    a = fit(longer, execution, digits, 3, tmp_path / "a.pt")
    b = fit(longer, execution, digits, 3, tmp_path / "b.pt")
    assert np.array_equal(a.record.probability, b.record.probability)
    assert a.history[-1].train_robust > 2 * a.history[0].train_robust


def test_compiled_kernels_agree_and_repeat_to_the_bit(
    training: Training, digits: TrainingData, tmp_path: Path
) -> None:
    asked = Execution(dtype="float32", kernels="compiled")
    found = kernels.choose_kernels(asked, training, digits)
    assert found.execution.kernels == "compiled", found.notes
    a = fit(training, found.execution, digits, 3, tmp_path / "a.pt")
    b = fit(training, found.execution, digits, 3, tmp_path / "b.pt")
    assert np.array_equal(a.record.probability, b.record.probability)
    # How Triton's kernels are tuned may differ from run to run, so nobody gets them unasked.
    assert (
        kernels.choose_kernels(Execution(), training, digits, units=5000).execution.kernels
        == "eager"
    )


@pytest.mark.parametrize("name", ["pgd-at", "trades", "gairat", "n-fgsm"])
def test_recorded_passes_give_the_bits_of_the_network_itself(
    name: str,
    training: Training,
    digits: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = replace(training.attack, steps=1) if name == "n-fgsm" else training.attack
    training = replace(training, method=cast(MethodName, name), attack=steps)
    execution = devices.resolve(Execution())
    recorded = fit(training, execution, digits, 3, tmp_path / "recorded.pt")
    monkeypatch.setattr(devices, "fast_passes", lambda net, *_: net)
    plain = fit(training, execution, digits, 3, tmp_path / "plain.pt")
    assert np.array_equal(recorded.record.probability, plain.record.probability)
    for key, weight in plain.last.items():
        assert torch.equal(weight, recorded.last[key])
