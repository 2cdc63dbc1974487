"""Learning rates: the paper's steps, and one cycle."""

from __future__ import annotations

import pytest

from datacurate.recipes import PROFILE_RECIPES, Optimizer, Training
from datacurate.training.schedule import learning_rate, memorizes_from


def test_the_papers_steps() -> None:
    optimizer = PROFILE_RECIPES["paper"].training.optimizer
    steps = 391
    rates = {
        epoch: learning_rate(optimizer, epoch * steps, steps, 160)
        for epoch in (0, 79, 80, 119, 120, 159)
    }
    assert rates == pytest.approx({0: 0.1, 79: 0.1, 80: 0.01, 119: 0.01, 120: 0.001, 159: 0.001})
    # The last step before the drop still has the old rate.
    assert learning_rate(optimizer, 80 * steps - 1, steps, 160) == 0.1


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing() -> None:
    optimizer = Optimizer(learning_rate=0.2, schedule="one-cycle", warmup=0.3)
    rates = [learning_rate(optimizer, step, 10, 10) for step in range(100)]
    assert max(rates) == pytest.approx(0.2, rel=0.02)
    assert rates.index(max(rates)) == pytest.approx(30, abs=1)
    assert rates[:30] == sorted(rates[:30])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 0.004


@pytest.mark.parametrize(
    ("epochs", "part", "first"), [(40, 0.4, 24), (40, 0.0, 40), (7, 1.0, 0), (3, 0.4, 2)]
)
def test_the_last_epochs_memorise(epochs: int, part: float, first: int) -> None:
    assert memorizes_from(Training(epochs=epochs, memorization=part)) == first
