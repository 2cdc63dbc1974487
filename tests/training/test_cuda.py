"""What only a GPU can show; everything else about training is tested on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datacurate.recipes import Execution, Training
from datacurate.training import devices
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
