"""Whatever happens while a file is written, the one that was there stays whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datacurate.errors import OutputError
from datacurate.formats import indexfile, rankfile
from datacurate.pruning import prune
from tests.made_ranks import made_rank_file

# Writes rank files of one of two kinds over each other for as long as it lives.
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.made_ranks import made_rank_file
from datacurate.formats import rankfile
made = made_rank_file(20_000, 3, 40, seed=int(sys.argv[3]))
print("ready", flush=True)
for _ in range(int(sys.argv[4])):
    rankfile.write(Path(sys.argv[1]), made, force=True)
"""
ROOT = str(Path(__file__).parents[2])


def writer(path: Path, seed: int, times: int) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), ROOT, str(seed), str(times)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    hashes = {
        rankfile.write(path, made_rank_file(20_000, 3, 40, seed=seed), force=True)
        for seed in (0, 1)
    }
    writers = [writer(path, seed, 15) for seed in (0, 1)]
    seen = set()
    while any(process.poll() is None for process in writers):
        seen.add(rankfile.read(path).content_sha256)  # which checks every column
    assert [process.wait() for process in writers] == [0, 0]
    assert seen <= hashes
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    hashes = {
        rankfile.write(path, made_rank_file(20_000, 3, 40, seed=seed), force=True)
        for seed in (0, 1)
    }
    chance = np.random.default_rng(0)
    for _ in range(6):
        process = writer(path, 0, 10_000)
        time.sleep(chance.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert rankfile.read(path).content_sha256 in hashes
    # What the killed left behind are hidden files that no glob for ranks finds.
    assert list(tmp_path.glob("*.ranks.h5")) == [path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a file system of one megabyte")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)


def test_a_full_disk(small_disk: Path) -> None:
    path, index = small_disk / "a.ranks.h5", small_disk / "idx.npy"
    made = made_rank_file()
    content = rankfile.write(path, made)
    indexfile.write(index, prune(made, 30))
    before = index.read_bytes(), indexfile.sidecar_path(index).read_bytes()
    large = made_rank_file(40_000)
    with pytest.raises(OutputError, match="could not be written"):
        rankfile.write(path, large, force=True)
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(1 << 20))
    with pytest.raises(OutputError, match="could not be written"):
        indexfile.write(index, prune(large, 30_000), force=True)
    assert rankfile.read(path).content_sha256 == content
    assert (index.read_bytes(), indexfile.sidecar_path(index).read_bytes()) == before
    names = sorted(file.name for file in small_disk.iterdir() if file.name != "filler")
    assert names == ["a.ranks.h5", "idx.npy", "idx.npy.json"]
