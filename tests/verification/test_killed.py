"""Killed by the system in a training or in an attack, the same call ends in the same record."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datacurate import verification
from datacurate.data import load
from datacurate.verification import KEPT_ARM, GivenRows
from datacurate.workers.workspace import is_unfinished
from tests.verification.test_execute import RECIPE, timeless

SHORT = replace(RECIPE, arms=("all", "kept"), seeds=1)
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from datacurate.data import load
from datacurate.verification import KEPT_ARM, GivenRows, verify
from tests.verification.test_killed import SHORT

def die(progress):
    trained = progress.epoch is not None and progress.epoch.epoch == 2
    attacked = progress.attack.endswith("apgd-t")
    if progress.unit == 2 and (trained if sys.argv[2] == "training" else attacked):
        os.kill(os.getpid(), signal.SIGKILL)

rows = {KEPT_ARM: GivenRows(np.arange(0, 1437, 4))}
verify(SHORT, load("digits"), rows, Path(sys.argv[1]), on_progress=die)
"""


@pytest.mark.parametrize("moment", ["training", "attack"])
def test_killed_and_called_again_it_ends_in_the_same_record(moment: str, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"
    command = [sys.executable, "-c", KILLED, str(out), moment]
    ended = subprocess.run(command, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert is_unfinished(verification.workspace_of(out))
    assert not out.exists()

    digits, given = load("digits"), {KEPT_ARM: GivenRows(np.arange(0, 1437, 4))}
    epochs: list[tuple[int, int]] = []

    def watch(progress: verification.VerificationProgress) -> None:
        if progress.epoch is not None:
            epochs.append((progress.unit, progress.epoch.epoch))

    verification.verify(SHORT, digits, given, out, on_progress=watch)
    # Nothing that was saved is trained again.
    assert epochs == ([(2, 3)] if moment == "training" else [])
    whole = tmp_path / "whole.json"
    verification.verify(SHORT, digits, given, whole)
    assert timeless(json.loads(out.read_text())) == timeless(json.loads(whole.read_text()))
    assert not out.with_suffix(".state").exists()
