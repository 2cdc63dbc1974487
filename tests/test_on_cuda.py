"""What only a GPU can show of whole commands: they find it, and what they write repeats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def run(*arguments: str | Path) -> dict[str, Any]:
    """Run the command with ``--json`` and return what it says."""
    command = [sys.executable, "-m", "datacurate", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_profile_and_a_verification_from_the_command_line(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.ranks.h5" for name in ("alone", "together")]
    for out, parallel in zip(files, (1, 2), strict=True):
        run("profile", "digits", "--recipe", "smoke", "--set", "runs=2", "--out", out,
            "--parallel", str(parallel))  # fmt: skip
    alone, together = (rankfile.read(out) for out in files)
    assert alone.provenance.recipe is not None
    assert alone.provenance.recipe["execution"]["device"] == "cuda"
    assert columns_sha256(dict(alone.columns)) == columns_sha256(dict(together.columns))
    rows = tmp_path / "idx.npy"
    run("prune", files[0], "--keep", "1000", "--out", rows)
    assert len(np.load(rows)) == 1000
    records = [tmp_path / f"{name}.json" for name in ("first", "second")]
    for out in records:
        run("verify", rows, "--recipe", "smoke", "--set", "seeds=2",
            "--suite", "standard", "--out", out)  # fmt: skip
    first, second = (json.loads(out.read_text(encoding="utf-8")) for out in records)
    assert first["members"][0]["best"]["device"].startswith("cuda")
    broken = [
        [member[which]["examples"] for member in record["members"] for which in ("best", "last")]
        for record in (first, second)
    ]
    assert broken[0] == broken[1]
