"""A profile with compiled kernels: killed, and where nothing can be compiled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from datacurate import profiling
from datacurate.data import load
from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.workers.workspace import is_unfinished

SETTINGS = ["training.model.name=cnn-small", "width=4", "runs=1", "epochs=3"]
SETTINGS += ["execution.dtype=float32", "execution.kernels=compiled"]


def test_killed_a_compiled_profile_ends_in_the_same_columns(tmp_path: Path) -> None:
    digits = load("digits")
    recipe = with_settings(PROFILE_RECIPES["smoke"], SETTINGS)
    whole = profiling.profile(recipe, digits, tmp_path / "whole.ranks.h5")
    assert whole.provenance.recipe is not None
    assert whole.provenance.recipe["execution"]["kernels"] == "compiled"
    tried = whole.provenance.environment["kernels"]
    assert tried["notes"] == []
    assert [trial["kernels"] for trial in tried["trials"]] == ["eager", "compiled"]
    assert 0 < tried["trials"][1]["logits_error"] < 1e-3
    assert rankfile.read(tmp_path / "whole.ranks.h5").provenance.environment["kernels"] == tried
    out = tmp_path / "killed.ranks.h5"
    command = [sys.executable, "-m", "datacurate", "profile", "digits", "--recipe", "smoke"]
    command += [part for setting in SETTINGS for part in ("--set", setting)]
    child = subprocess.Popen(
        [*command, "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        start_new_session=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if " epoch " in line:
            break
    time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    again = profiling.profile(
        recipe, digits, out, force=not is_unfinished(profiling.workspace_of(out))
    )
    assert columns_sha256(dict(again.columns)) == columns_sha256(dict(whole.columns))


def test_without_a_compiler_kernels_are_eager_and_it_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "datacurate", "profile", "digits", "--recipe", "smoke", "--json"]
        + [part for setting in SETTINGS for part in ("--set", setting)]
        + ["--set", "epochs=1", "--out", str(tmp_path / "digits.ranks.h5")],
        capture_output=True,
        text=True,
        env={"PATH": "", "HOME": str(tmp_path), "CXX": "/nowhere/c++", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "there is no working C++ compiler here: eager kernels are used" in done.stderr
    assert '"kernels": "eager"' in done.stdout
