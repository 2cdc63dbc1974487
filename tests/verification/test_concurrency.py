"""Members beside each other: the same record, one clear error, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate import verification
from datacurate.data import DataSet, load
from datacurate.errors import TrainingError, UsageError
from datacurate.machine import cores
from datacurate.recipes import VERIFY_RECIPES, VerifyRecipe, with_settings
from datacurate.verification import KEPT_ARM, GivenRows, Point, VerificationProgress, sweep, verify
from datacurate.workers.workspace import is_unfinished
from tests.processes import children, gone
from tests.small_digits import small_digits
from tests.verification.test_execute import timeless

SETTINGS = ["training.model.name=cnn-small", "width=4", "seeds=1", "epochs=6", "every=3"]
SETTINGS += ["execution.dtype=float32", "arms=all,kept,random", "suite=fast", "held_out=0.1"]
RECIPE = with_settings(VERIFY_RECIPES["smoke"], SETTINGS)
GIVEN = {KEPT_ARM: GivenRows(np.arange(0, 130, 2))}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from datacurate.data import load
from datacurate.verification import verify
from tests.processes import children
from tests.verification.test_concurrency import GIVEN, RECIPE

begun = set()

def die(progress):
    begun.add(progress.unit)
    if len(begun) == 2:
        print(json.dumps(children(os.getpid())), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

data, out = load(sys.argv[1]), Path(sys.argv[2])
verify(RECIPE, data, GIVEN, out, parallel=2, on_progress=die)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and thirty digits to train on, twenty to attack."""
    return small_digits(tmp_path_factory.mktemp("data"), tested=20)


@pytest.fixture(scope="module")
def data(images: Path) -> DataSet:
    return load(str(images))


@pytest.fixture(scope="module")
def alone(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The record of the members made one after another."""
    out = tmp_path_factory.mktemp("alone") / "verify.json"
    verify(RECIPE, data, GIVEN, out)
    return read(out)


def read(out: Path) -> Any:
    return timeless(json.loads(out.read_text()))


def test_beside_each_other_they_make_the_same_record(
    data: DataSet, alone: Any, tmp_path: Path
) -> None:
    seen: list[VerificationProgress] = []
    out = tmp_path / "verify.json"
    verify(RECIPE, data, GIVEN, out, parallel=2, on_progress=seen.append)
    assert read(out) == alone
    epochs = [p for p in seen if p.epoch is not None]
    assert [p.trained for p in epochs] == list(range(1, 6 * 3 + 1))
    assert {(p.unit, p.arm, p.epoch.epoch) for p in epochs if p.epoch} == {
        (*member, epoch) for member in enumerate(RECIPE.arms, start=1) for epoch in range(1, 7)
    }
    attacked = {p.unit for p in seen if p.attack == "best: pgd-10" and p.done == p.total == 20}
    assert attacked == {1, 2, 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["verify.json", "verify.md"]


def test_killed_it_leaves_nobody_and_ends_in_the_same_record(
    images: Path, data: DataSet, alone: Any, tmp_path: Path
) -> None:
    out = tmp_path / "verify.json"
    command = [sys.executable, "-c", KILLED, str(images), str(out)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    members = json.loads(ended.stdout)
    assert len(members) == 2
    assert gone(members)
    assert is_unfinished(verification.workspace_of(out))
    seen: list[VerificationProgress] = []
    verify(RECIPE, data, GIVEN, out, parallel=3, on_progress=seen.append)
    assert read(out) == alone
    assert not {(p.unit, p.epoch.epoch) for p in seen if p.epoch} & {(1, 1), (2, 1)}
    assert not out.with_suffix(".state").exists()


def test_a_member_that_is_killed_is_one_error(data: DataSet, alone: Any, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"
    members: list[int] = []
    others = set(children(os.getpid()))  # a compiler's, of another test

    def kill(progress: VerificationProgress) -> None:
        if progress.unit == 2 and not members:
            members.extend(pid for pid in children(os.getpid()) if pid not in others)
            os.kill(members[-1], signal.SIGKILL)  # the one that was started last

    with pytest.raises(TrainingError, match="process of kept, seed 0 ended without") as caught:
        verify(RECIPE, data, GIVEN, out, parallel=2, on_progress=kill)
    assert caught.value.got == "signal 9"
    assert "continues from the last saved epochs" in str(caught.value)
    assert len(members) == 2
    assert gone(members)
    assert is_unfinished(verification.workspace_of(out))
    verify(RECIPE, data, GIVEN, out)
    assert read(out) == alone


def test_arms_of_the_same_rows_are_made_once(data: DataSet, tmp_path: Path) -> None:
    rows = GIVEN[KEPT_ARM].rows
    given = {"a": GivenRows(rows), "b": GivenRows(rows.copy())}
    recipe = replace(RECIPE, arms=("a", "b"), standard=True)
    seen: list[VerificationProgress] = []
    out, alone = tmp_path / "verify.json", tmp_path / "alone.json"
    found = verify(recipe, data, given, out, parallel=2, on_progress=seen.append)
    assert {p.arm for p in seen} == {"a", "a, standard training"}
    assert max(p.trained for p in seen) == 6 * 4
    first, second = found.networks
    assert replace(second, arm="a").seconds == first.seconds
    verify(recipe, data, given, alone)
    assert read(out) == read(alone)


def test_threads_left_open_are_shared_and_kept(data: DataSet, tmp_path: Path) -> None:
    open_threads = with_settings(RECIPE, ["threads=0", "epochs=2", "arms=all,kept"])
    share = max(1, cores() // 2)
    out = tmp_path / "verify.json"

    def threads(recipe: VerifyRecipe, parallel: int = 1, force: bool = False) -> int:
        plan = verification.plan(recipe, data, GIVEN, out, force=force, parallel=parallel)
        return plan.recipe.execution.threads

    assert threads(open_threads) == cores()
    assert threads(open_threads, 2) == share
    # There are two trainings: more than two never run at a time.
    assert threads(open_threads, 99) == share
    assert threads(RECIPE, 2) == 1

    def stop(progress: VerificationProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(open_threads, data, GIVEN, out, parallel=2, on_progress=stop)
    plan = verification.plan(open_threads, data, GIVEN, out)
    assert plan.resumes
    assert plan.recipe.execution.threads == share
    assert threads(open_threads, force=True) == cores()
    found = verify(open_threads, data, GIVEN, out)  # one after another
    assert found.recipe == plan.recipe


def test_a_sweep_is_the_same_too(data: DataSet, tmp_path: Path) -> None:
    recipe = replace(RECIPE, arms=("all", "kept"))
    points = [
        Point(str(step), recipe, {KEPT_ARM: GivenRows(np.arange(0, 130, step))}) for step in (2, 1)
    ]
    tables = [
        sweep("step", points, data, tmp_path / f"{parallel}.json", parallel=parallel)
        for parallel in (1, 2)
    ]
    first, second = (
        [{**point, "record": ""} for point in timeless(table)["points"]] for table in tables
    )
    assert first == second


def test_fewer_than_one_at_a_time_is_refused(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one training must run"):
        verify(RECIPE, data, GIVEN, tmp_path / "verify.json", parallel=0)
    assert list(tmp_path.iterdir()) == []
