"""The ranks of CIFAR-10 that ship serve whoever has neither network nor GPU, and say so."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datacurate.formats import indexfile, rankfile
from datacurate.ranks.agreement import spearman
from datacurate.remote.artifacts import artifacts_directory
from datacurate.remote.registry import load

FOLDER = artifacts_directory() / "cifar10-proxy"


@pytest.fixture
def cut_off(tmp_path: Path) -> dict[str, str]:
    """An environment of a person without a cache, whose every connection is refused."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
    home = tmp_path / "home"
    home.mkdir()
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "PYTHONPATH") if key in os.environ}
    proxies = {f"{kind}_PROXY": nowhere for kind in ("HTTP", "HTTPS", "ALL")}
    return {**kept, **proxies, "HOME": str(home), "NO_COLOR": "1"}


def test_prune_out_of_the_box(tmp_path: Path, cut_off: dict[str, str]) -> None:
    command = Path(sys.executable).with_name("datacurate")
    done = subprocess.run(
        [command, "prune", "--keep", "40000", "--out", "idx.npy"],
        cwd=tmp_path,
        env=cut_off,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cifar10-proxy stand in for them" in " ".join(done.stderr.split())
    index = indexfile.read(tmp_path / "idx.npy")
    assert index.source["content_sha256"] == load()["cifar10-proxy"].content_sha256
    sidecar = json.loads((tmp_path / "idx.npy.json").read_text(encoding="utf-8"))
    assert any("cifar10-proxy stand in" in line for line in sidecar["warnings"])
    # The list that ships beside the ranks is the one that the command makes of them.
    assert np.array_equal(index.kept, np.load(FOLDER / "idx-40000.npy"))
    assert len(index.kept) == 40_000


def test_what_the_card_states_is_what_follows_from_both_files(upstream_npy: Path) -> None:
    ranks = rankfile.read(FOLDER / "cifar10-proxy.ranks.h5")
    theirs = np.load(upstream_npy)
    stated = load()["cifar10-proxy"].agreement
    found = spearman(ranks.columns["problematic_rank"], theirs)
    assert stated == pytest.approx(found, abs=5e-5)
    text = " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())
    assert f"Spearman {found:.3f}" in text
    # The most problematic fifth of each, by sorting alone.
    ours = np.flatnonzero(ranks.columns["position"] >= 40_000)
    worst = np.argsort(-theirs, kind="stable")[:10_000]
    iou = len(np.intersect1d(ours, worst)) / len(np.union1d(ours, worst))
    said = re.search(r"of the 10,000 most problematic ([0-9.]+);", text)
    assert said is not None
    # Ties of the authors' file at the edge may be broken in either way.
    assert float(said[1]) == pytest.approx(iou, abs=1e-3)
