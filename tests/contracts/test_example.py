"""The example script goes all the way on small data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "cifar10.sh"


def test_the_example_runs_on_digits(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DATASET": "digits", "RECIPE": "smoke"}
    command = ["bash", str(SCRIPT)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert {"digits.ranks.h5", "idx.npy", "idx.npy.json", "verify.json", "verify.md"} <= written
