"""Profiles: killed at any moment they end in the same columns, and never spoil a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate import profiling
from datacurate.data import DataSet, load
from datacurate.errors import OutputBusyError, OutputExistsError, StateError, UnknownNameError
from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.ranks import scores
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.training.checkpoints import load_network
from datacurate.workers.workspace import is_unfinished

SETTINGS = ["width=4", "runs=2", "epochs=6", "execution.dtype=float32"]
RECIPE = with_settings(PROFILE_RECIPES["smoke"], SETTINGS)
COMMAND = [sys.executable, "-m", "datacurate", "profile", "digits", "--recipe", "smoke"]
COMMAND += [part for setting in SETTINGS for part in ("--set", setting)]


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load("digits")


@pytest.fixture(scope="module")
def whole(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RankFile]:
    """An uninterrupted profile."""
    out = tmp_path_factory.mktemp("whole") / "digits.ranks.h5"
    return out, profiling.profile(RECIPE, digits, out)


def data_hash(columns: Mapping[str, Any]) -> str:
    return columns_sha256(dict(columns))


def test_the_file_holds_what_the_history_says(whole: tuple[Path, RankFile]) -> None:
    out, made = whole
    ranks = rankfile.read(out)
    assert data_hash(ranks.columns) == data_hash(made.columns)
    lines = [json.loads(line) for line in rankfile.history_path(out).read_text().splitlines()]
    assert [(line["run"], line["epoch"]) for line in lines] == [
        (run, epoch) for run in (0, 1) for epoch in range(1, 7)
    ]
    for run in (0, 1):
        correct = scores.unpack(ranks.columns["correct"][:, run], 6)
        stated = [line["train_robust"] for line in lines if line["run"] == run]
        np.testing.assert_allclose(correct.mean(axis=0), stated)
    assert [run["seed"] for run in ranks.provenance.runs] == [0, 1]
    assert ranks.provenance.recipe is not None
    assert ranks.provenance.recipe["execution"]["device"] == "cpu"  # nothing is left open
    assert sorted(p.name for p in out.parent.iterdir()) == [
        "digits.history.jsonl",
        "digits.ranks.h5",
    ]


def test_killed_at_random_moments_it_ends_in_the_same_columns(
    whole: tuple[Path, RankFile], tmp_path: Path
) -> None:
    out = tmp_path / "digits.ranks.h5"
    chance = np.random.default_rng()
    kills, epochs_seen = 0, 0
    deadline = time.monotonic() + 240
    while True:
        process = subprocess.Popen(
            [*COMMAND, "--out", str(out)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
            start_new_session=True,
        )
        assert process.stderr is not None
        if kills < 4:
            # Kill a random while after the first epoch it shows, so that each life gets on.
            for line in process.stderr:
                if " epoch " in line:
                    epochs_seen += 1
                    break
            time.sleep(float(chance.uniform(0, 0.6)))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            if out.exists():  # whenever it is there it is a valid file
                assert 1 <= len(rankfile.read(out).provenance.runs) <= 2
        else:
            _, errors = process.communicate(timeout=200)
            if process.returncode == 0:
                break
            # The last kill may have come after the end: then there is nothing to go on with.
            assert "exists already, with 2 finished runs" in errors
            break
        assert time.monotonic() < deadline
    assert epochs_seen >= 1
    found = rankfile.read(out)
    assert data_hash(found.columns) == data_hash(whole[1].columns)
    runs = [{**run, "seconds": 0} for run in found.provenance.runs]
    assert runs == [{**run, "seconds": 0} for run in whole[1].provenance.runs]
    lines = rankfile.history_path(out).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6] * 2


def test_after_the_first_run_the_file_is_valid(digits: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"

    class Stop(Exception):
        pass

    def stop(progress: profiling.ProfileProgress) -> None:
        if progress.run == 2:
            raise Stop

    with pytest.raises(Stop):
        profiling.profile(RECIPE, digits, out, on_epoch=stop)
    found = rankfile.read(out)
    assert len(found.provenance.runs) == 1
    assert is_unfinished(profiling.workspace_of(out))


def test_a_changed_recipe_or_other_data_is_refused_with_the_difference(
    digits: DataSet, tmp_path: Path
) -> None:
    out = tmp_path / "digits.ranks.h5"

    def stop(progress: profiling.ProfileProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profiling.profile(RECIPE, digits, out, on_epoch=stop)
    changed = with_settings(RECIPE, ["learning_rate=0.3"])
    with pytest.raises(StateError) as caught:
        profiling.profile(changed, digits, out)
    assert "learning_rate: 0.2 → 0.3" in str(caught.value)
    relabelled = replace(
        digits.train,
        identity=replace(digits.train.identity, label_fingerprint="0" * 64),
    )
    with pytest.raises(StateError, match="other data"):
        profiling.profile(RECIPE, replace(digits, train=relabelled), out)
    assert is_unfinished(profiling.workspace_of(out))


def test_what_exists_is_not_replaced(
    digits: DataSet, whole: tuple[Path, RankFile], tmp_path: Path
) -> None:
    before = whole[0].read_bytes()
    with pytest.raises(OutputExistsError, match="2 finished runs"):
        profiling.profile(RECIPE, digits, whole[0])
    assert whole[0].read_bytes() == before
    foreign = tmp_path / "notes.ranks.h5"
    foreign.write_text("my notes")
    with pytest.raises(OutputExistsError, match="not a rank file"):
        profiling.profile(RECIPE, digits, foreign)
    assert foreign.read_text() == "my notes"
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_second_process_is_refused(digits: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"
    other = subprocess.Popen(
        [*COMMAND, "--out", str(out), "--set", "epochs=500"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert other.stderr is not None
    try:
        for line in other.stderr:
            if " epoch " in line:
                break
        with pytest.raises(OutputBusyError, match="another process"):
            profiling.profile(RECIPE, digits, out)
    finally:
        other.kill()
        other.wait()


def test_unknown_names_are_said_before_anything_is_made(digits: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"
    recipe = with_settings(RECIPE, ["training.model.name=preact-smal"])
    with pytest.raises(UnknownNameError, match="did you mean 'preact-small'"):
        profiling.profile(recipe, digits, out)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_the_robust_best_networks(digits: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "digits.ranks.h5"
    short = with_settings(RECIPE, ["runs=1", "epochs=2"])
    made = profiling.profile(short, digits, out, checkpoints=tmp_path / "nets")
    network = load_network(tmp_path / "nets" / "digits.run0.pt")
    assert network.about["best_epoch"] == made.provenance.runs[0]["best_epoch"]
    assert network.class_names == digits.train.identity.class_names


def test_no_path_of_this_machine_is_stated(digits: DataSet, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=digits.train.images, labels=digits.train.labels)
    made = profiling.profile(
        with_settings(RECIPE, ["runs=1", "epochs=1"]),
        load(str(tmp_path / "mine.npz")),
        tmp_path / "mine.ranks.h5",
    )
    assert made.provenance.source["location"] == "mine.npz"
    assert str(tmp_path).encode() not in (tmp_path / "mine.ranks.h5").read_bytes()


def test_borrowed_examples_are_neither_trained_on_nor_ranked(
    digits: DataSet, tmp_path: Path
) -> None:
    borrowed = np.array([3, 50, 700])
    out = tmp_path / "digits.ranks.h5"
    short = with_settings(RECIPE, ["runs=1", "epochs=1"])
    made = profiling.profile(short, replace(digits, borrowed=borrowed), out)
    assert np.array_equal(np.flatnonzero(made.columns["position"] == -1), borrowed)
    assert np.isnan(made.columns["problematic_rank"][borrowed]).all()
    ranked = np.setdiff1d(np.arange(len(made)), borrowed)
    assert np.array_equal(np.sort(made.columns["position"][ranked]), np.arange(len(ranked)))
