"""A command decides once where it runs: it tries kernels once, and resumed work not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datacurate import profiling, verification
from datacurate.data import DataSet, load
from datacurate.recipes import PROFILE_RECIPES, VERIFY_RECIPES, with_settings

TINY = ["width=4", "epochs=2", "dtype=float32", "kernels=compiled"]
PROFILE = with_settings(PROFILE_RECIPES["smoke"], TINY)
VERIFY = with_settings(VERIFY_RECIPES["smoke"], [*TINY, "arms=all,kept", "suite=pgd-10"])
GIVEN = {verification.KEPT_ARM: verification.GivenRows(np.arange(0, 1437, 4))}


class Stop(Exception):
    """Interrupts a work."""


def stop(*progress: object) -> None:
    raise Stop


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits")


def count_trials(plan: Callable[[Callable[[str], None]], object]) -> int:
    """Return how often a plan tries kernels."""
    messages: list[str] = []
    plan(messages.append)
    return sum("kernels on one batch" in message for message in messages)


def test_a_profile_decides_once(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"
    plans: list[profiling.ProfilePlan] = []

    def make(tell: Callable[[str], None]) -> None:
        plans.append(profiling.plan(PROFILE, data, out, tell=tell))

    assert count_trials(make) == 1
    with pytest.raises(Stop):
        profiling.run(plans[0], on_epoch=stop)
    assert count_trials(make) == 0
    assert plans[1].resumes
    assert plans[1].recipe == plans[0].recipe
    ranks = profiling.run(plans[1])
    # The file holds the plan that was printed, and its one trial.
    assert ranks.provenance.recipe is not None
    assert ranks.provenance.recipe["execution"]["kernels"] == plans[0].recipe.execution.kernels
    assert ranks.provenance.environment["kernels"] == plans[0].execution.trials


def test_a_verification_decides_once(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"
    plans: list[verification.VerificationPlan] = []

    def make(tell: Callable[[str], None]) -> None:
        plans.append(verification.plan(VERIFY, data, GIVEN, out, tell=tell))

    assert count_trials(make) == 1
    with pytest.raises(Stop):
        verification.run(plans[0], on_progress=stop)
    assert count_trials(make) == 0
    assert plans[1].resumes
    result = verification.run(plans[1])
    assert result.recipe == plans[0].recipe
    assert result.hardware["kernels"] == plans[0].execution.trials


def test_a_sweep_decides_once_for_all_values(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "sweep.json"
    points = [
        verification.Point(
            str(step),
            VERIFY,
            {verification.KEPT_ARM: verification.GivenRows(np.arange(0, 1437, step))},
        )
        for step in (4, 3)
    ]
    sweeps: list[verification.SweepPlan] = []

    def make(tell: Callable[[str], None]) -> None:
        sweeps.append(verification.plan_sweep("step", points, data, out, tell=tell))

    assert count_trials(make) == 1
    with pytest.raises(Stop):
        verification.run_sweep(sweeps[0], on_progress=stop)
    assert count_trials(make) == 0
    assert sweeps[1].resumes
    trials = [
        plan.execution.trials for plan in (*sweeps[0].plans.values(), *sweeps[1].plans.values())
    ]
    assert trials == [trials[0]] * 4
