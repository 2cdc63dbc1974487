"""Budgets: what is chosen fits, nothing larger would, and epochs come before runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datacurate.errors import UsageError
from datacurate.profiling.estimates import FEWEST_EPOCHS, MOST_RUNS, Cost, fit_into_time
from datacurate.recipes import PROFILE_RECIPES, Execution, ProfileRecipe

# One thread is never more than there is, on any machine.
RECIPE = replace(PROFILE_RECIPES["proxy"], execution=Execution(threads=1, device="cpu"))


def of(recipe: ProfileRecipe, runs: int, epochs: int) -> ProfileRecipe:
    return replace(recipe, runs=runs, training=replace(recipe.training, epochs=epochs))


@given(st.floats(0, 100), st.floats(0.1, 50), st.floats(0, 50), st.floats(10, 100_000), st.just(1))
def test_what_is_chosen_fits_and_nothing_larger_would(
    setup: float, epoch: float, measuring: float, seconds: float, parallel: int
) -> None:
    known = Cost(setup, epoch, measuring)

    def takes(runs: int, epochs: int) -> float:
        return setup + runs * (epochs * epoch + measuring)  # one after the other

    if takes(1, FEWEST_EPOCHS) > 0.9 * seconds:
        with pytest.raises(UsageError, match="not even 2 epochs fit"):
            fit_into_time(RECIPE, seconds, known, parallel)
        return
    chosen = fit_into_time(RECIPE, seconds, known, parallel)
    runs, epochs = chosen.runs, chosen.training.epochs
    assert of(RECIPE, runs, epochs) == chosen  # nothing else is changed
    assert takes(runs, epochs) <= 0.9 * seconds * (1 + 1e-9)
    if epochs < RECIPE.training.epochs:
        assert runs == 1
        assert takes(1, epochs + 1) > 0.9 * seconds * (1 - 1e-9)
    else:
        assert runs == MOST_RUNS or takes(runs + 1, epochs) > 0.9 * seconds * (1 - 1e-9)


def test_runs_that_go_on_at_a_time_cost_no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacurate.training.devices.cores", lambda: 2)
    chosen = fit_into_time(RECIPE, 1000.0, Cost(0.0, 45.0, 0.0), 2)
    assert (chosen.runs, chosen.training.epochs) == (2, 20)
    # On one core two would share it: each has half the epochs.
    monkeypatch.setattr("datacurate.training.devices.cores", lambda: 1)
    chosen = fit_into_time(RECIPE, 1000.0, Cost(0.0, 45.0, 0.0), 2)
    assert (chosen.runs, chosen.training.epochs) == (2, 10)
    assert fit_into_time(RECIPE, 1000.0, Cost(0.0, 45.0, 0.0), 1).runs == 1
