"""Thousands of damaged files: each is read as it was or refused as ours; nothing crashes or hangs.

A reader that crashes or hangs would take the tests with it, so a child process reads, in batches
under a time limit, and says what became of every file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datacurate.formats import indexfile, rankfile
from datacurate.pruning import prune
from tests.made_ranks import made_rank_file

SAMPLE = Path(__file__).parents[1] / "data" / "files" / "ranks-1.0.ranks.h5"
SECONDS = 120  # for a whole batch, which takes a few

CHILD = """
import random, sys
from pathlib import Path
import numpy as np
from datacurate.errors import FileError
from datacurate.formats import indexfile, rankfile

kind, path, beside = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
seed, rounds = map(int, sys.argv[4:])

def read():
    if kind == "ranks":
        found = rankfile.read(path)
        found.ranking()
        return {**rankfile.file_columns(found), "sha256": np.array(found.content_sha256),
                "provenance": np.array(repr(found.provenance))}
    found = indexfile.read(path)
    return {"kept": found.kept, "labels": found.dataset.labels, "rows": found.dataset.rows}

target = Path(str(path) + beside)
whole = target.read_bytes()
before = read()
chance = random.Random(seed)
same = refused = 0
for number in range(rounds):
    damaged = bytearray(whole)
    what = chance.randrange(4)
    if what == 0:  # cut
        del damaged[chance.randrange(len(damaged)):]
    elif what == 1:  # a piece lost
        start = chance.randrange(len(damaged))
        del damaged[start:start + chance.choice([1, 8, 512])]
    else:  # bits
        for _ in range(chance.choice([1, 1, 1, 3, 30])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    target.unlink()  # overwriting in place makes some file systems wait for the disk
    target.write_bytes(damaged)
    try:
        after = read()
    except FileError:
        refused += 1
        continue
    assert after.keys() == before.keys(), (seed, number)
    for name, values in before.items():
        floating = values.dtype.kind == "f"
        assert np.array_equal(values, after[name], equal_nan=floating), (seed, number, name)
    same += 1
print(same, refused)
"""


def fuzzed(kind: str, path: Path, beside: str, seed: int, rounds: int) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kind, str(path), beside, str(seed), str(rounds)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    same, refused = map(int, done.stdout.split())
    assert same + refused == rounds
    return same, refused


@pytest.mark.parametrize("seed", range(2))
def test_the_published_sample(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "sample.ranks.h5"
    path.write_bytes(SAMPLE.read_bytes())
    _, refused = fuzzed("ranks", path, "", seed, 1000)
    assert refused > 500


def test_a_larger_rank_file(tmp_path: Path) -> None:
    """With chunks that are packed, and few bytes that nothing depends on."""
    path = tmp_path / "large.ranks.h5"
    rankfile.write(path, made_rank_file(3000, 3, 40))
    _, refused = fuzzed("ranks", path, "", 2, 500)
    assert refused > 400


@pytest.mark.parametrize("beside", ["", ".json"])
def test_an_index_file_and_its_sidecar(tmp_path: Path, beside: str) -> None:
    path = tmp_path / "idx.npy"
    indexfile.write(path, prune(made_rank_file(), 30))
    assert np.load(path).shape == (30,)
    _, refused = fuzzed("index", path, beside, 3, 500)
    assert refused > 100
