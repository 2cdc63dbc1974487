"""Runs beside each other: the same columns, one clear error, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from datacurate import profiling
from datacurate.data import DataSet, load
from datacurate.errors import RecipeError, TrainingError, UnknownNameError, UsageError
from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.machine import cores
from datacurate.profiling.concurrency import run_units
from datacurate.recipes import PROFILE_RECIPES, ProfileRecipe, with_settings
from datacurate.training import devices
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.planning import training_data
from datacurate.workers.process import describe_error, rebuild_error
from datacurate.workers.shared_arrays import attach, share
from datacurate.workers.workspace import is_unfinished
from tests.processes import children, gone
from tests.small_digits import small_digits

SETTINGS = ["training.model.name=cnn-small", "width=4", "runs=3", "epochs=8"]
SETTINGS += ["execution.dtype=float32", "every=8", "examples=20"]
RECIPE = with_settings(PROFILE_RECIPES["smoke"], SETTINGS)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and thirty digits to train on."""
    return small_digits(tmp_path_factory.mktemp("data"), tested=30)


@pytest.fixture(scope="module")
def data(images: Path) -> DataSet:
    return load(str(images))


@pytest.fixture(scope="module")
def alone(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> RankFile:
    """The runs one after another."""
    return profiling.profile(RECIPE, data, tmp_path_factory.mktemp("alone") / "digits.ranks.h5")


def columns(ranks: RankFile) -> str:
    return columns_sha256(dict(ranks.columns))


def begun(images: Path, out: Path, *more: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start the command with two runs at a time; return when both have saved an epoch."""
    settings = [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]
    command = [sys.executable, "-m", "datacurate", "profile", str(images), "--recipe", "smoke"]
    process = subprocess.Popen(
        [*command, *settings, "--parallel", "2", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
        # Where the tests run in the background, a shell lets them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    seen: set[str] = set()
    for line in process.stderr:
        if " epoch " in line:
            seen.add(line.split(" epoch ")[0])
        if len(seen) == 2:
            return process, children(process.pid)
    raise AssertionError("it ended before it was killed")


@pytest.mark.parametrize("parallel", [2, 7])
def test_beside_each_other_they_make_the_same_columns(
    data: DataSet, alone: RankFile, tmp_path: Path, parallel: int
) -> None:
    seen: list[profiling.ProfileProgress] = []
    out = tmp_path / "digits.ranks.h5"
    made = profiling.profile(RECIPE, data, out, parallel=parallel, on_epoch=seen.append)
    assert columns(made) == columns(alone)
    timeless = [{**run, "seconds": 0} for run in made.provenance.runs]
    assert timeless == [{**run, "seconds": 0} for run in alone.provenance.runs]
    assert [p.done for p in seen] == list(range(1, 25))
    assert {(p.run, p.report.epoch) for p in seen} == {
        (run, epoch) for run in (1, 2, 3) for epoch in range(1, 9)
    }
    assert len(rankfile.history_path(out).read_text().splitlines()) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "digits.history.jsonl",
        "digits.ranks.h5",
    ]


@pytest.mark.parametrize("resumed_with", [1, 2])
def test_killed_in_the_middle_it_leaves_nobody_and_ends_in_the_same_columns(
    images: Path, data: DataSet, alone: RankFile, tmp_path: Path, resumed_with: int
) -> None:
    out = tmp_path / "digits.ranks.h5"
    process, members = begun(images, out)
    assert len(members) == 2
    os.kill(process.pid, signal.SIGKILL)  # the parent alone
    process.wait()
    assert gone(members)
    saved = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "digits.state").glob("*.pt")}
    assert {"run-0.pt", "run-1.pt"} <= set(saved)
    seen: list[profiling.ProfileProgress] = []
    made = profiling.profile(RECIPE, data, out, parallel=resumed_with, on_epoch=seen.append)
    assert columns(made) == columns(alone)
    assert len(seen) < 24  # it went on
    assert seen[-1].done == 24
    assert not (tmp_path / "digits.state").exists()


def test_interrupted_from_the_keyboard_it_says_so_and_leaves_nobody(
    images: Path, tmp_path: Path
) -> None:
    process, members = begun(images, tmp_path / "digits.ranks.h5", "epochs=500")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the members get it too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
    assert gone(members)


def test_a_member_that_is_killed_is_one_error(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"
    process, members = begun(images, out, "epochs=500")
    os.kill(members[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("error:") == 1
    assert "ended without a message" in said
    assert "signal 9" in said
    assert "Traceback" not in said
    assert gone(members)
    assert is_unfinished(profiling.workspace_of(out))


def test_a_run_that_diverges_is_the_same_error_and_what_was_saved_stays(
    data: DataSet, tmp_path: Path
) -> None:
    wild = with_settings(
        RECIPE,
        ["learning_rate=1e18", "schedule=steps", "milestones=", "weight_decay=0.5", "epochs=40"],
    )
    said = []
    for parallel in (1, 2):
        out = tmp_path / f"{parallel}.ranks.h5"
        with pytest.raises(TrainingError, match="not finite in epoch") as caught:
            profiling.profile(wild, data, out, parallel=parallel)
        said.append(str(caught.value))
        assert is_unfinished(profiling.workspace_of(out))
    assert "learning_rate" in said[0]
    assert said[0].splitlines()[1:] == said[1].splitlines()[1:]


def test_threads_left_open_are_shared_and_kept(data: DataSet, tmp_path: Path) -> None:
    open_threads = with_settings(RECIPE, ["threads=0", "epochs=2"])
    share_of_one = max(1, cores() // 2)
    out = tmp_path / "digits.ranks.h5"

    def threads(recipe: ProfileRecipe, parallel: int = 1) -> int:
        plan = profiling.plan(recipe, data, out, parallel=parallel)
        return plan.recipe.execution.threads

    assert threads(open_threads) == cores()
    assert threads(open_threads, 2) == share_of_one
    assert threads(open_threads, 99) == max(1, cores() // 3)
    assert threads(RECIPE, 2) == 1

    def stop(progress: profiling.ProfileProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profiling.profile(open_threads, data, out, parallel=2, on_epoch=stop)
    assert threads(open_threads) == share_of_one
    made = profiling.profile(open_threads, data, out)  # one after another
    assert made.provenance.recipe is not None
    assert made.provenance.recipe["execution"]["threads"] == share_of_one


def test_fewer_than_one_at_a_time_is_refused(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one training must run"):
        profiling.profile(RECIPE, data, tmp_path / "digits.ranks.h5", parallel=0)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_each_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    execution = with_settings(RECIPE, ["device=cuda"]).execution
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [devices.device_of_unit(execution, run).device for run in range(3)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    named = with_settings(RECIPE, ["device=cuda:1"]).execution
    assert devices.device_of_unit(named, 0) == named
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.device_of_unit(execution, 1).device == "cuda"


def test_what_is_shared_is_what_was_given(digits: TrainingData) -> None:
    given: dict[str, npt.NDArray[Any]] = {
        "images": digits.images,
        "every third label": digits.labels[::3],
        "hashes": np.array([2**64 - 1, 3], dtype=np.uint64),
        "none": np.empty((0, 8, 8), dtype=np.uint8),
    }
    file, layout = share(given)
    with file:
        found = attach(os.dup(file.fileno()), json.loads(json.dumps(layout)))
    assert list(found) == list(given)
    for name, array in given.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array)


def test_no_room_to_share_is_said(digits: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("wb")  # noqa: SIM115
    monkeypatch.setattr("datacurate.workers.shared_arrays.anonymous_file", lambda: full)
    with pytest.raises(TrainingError, match="No space left"):
        share({"images": digits.images})


@pytest.mark.parametrize(
    "error",
    [
        TrainingError("it diverged", got="nan", hint="lower the rate"),
        RecipeError("out of range", expected="more"),
        UnknownNameError("network", "resnt", ["resnet"]),
    ],
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    again = rebuild_error(describe_error(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    try:
        _ = dict[str, int]()["nothing"]
    except KeyError as error:
        again = rebuild_error(describe_error(error))
    assert "KeyError: 'nothing'" in str(again)
    assert "test_local.py" in "".join(again.__notes__)


def test_closed_early_it_ends_its_processes(data: DataSet, tmp_path: Path) -> None:
    asked = with_settings(RECIPE, ["epochs=500"])
    recipe = profiling.plan(asked, data, tmp_path / "digits.ranks.h5").recipe
    seen: list[int] = []

    class Stop(Exception):
        pass

    def stop(run: int, history: list[EpochReport]) -> None:
        seen.append(run)
        raise Stop

    with pytest.raises(Stop):
        next(run_units(recipe, training_data(data), tmp_path, 2, stop))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    time.sleep(1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == before
    assert len(seen) == 1
