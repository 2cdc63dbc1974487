"""Ranks of real images against copies of them, on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from datacurate.data import ImageData
from datacurate.formats import rankfile
from datacurate.identity import Identity
from tests.cli.conftest import Run
from tests.made_ranks import made_rank_file

pytestmark = pytest.mark.real_data

PARQUET = "train-00000-of-00001.parquet"


def write_ranks(identity: Identity) -> None:
    ranks = made_rank_file(len(identity), number=1, epochs=8)
    rankfile.write(Path("cifar10.ranks.h5"), replace(ranks, identity=identity))


def test_the_jpegs_warn_and_work(
    here: Path, run: Run, cifar10_first5000: Identity, shared_data: Path
) -> None:
    write_ranks(cifar10_first5000)
    jpegs = shared_data / "cifar10-jpeg-first5000"
    code, out, err = run("prune", "--keep", "80%", "--data", str(jpegs))
    assert code == 0, err
    assert "warning: a re-encoded copy: the same pictures, other pixels" in err
    assert "4,000 of 5,000 kept" in out
    assert len(np.load("idx.npy")) == 4000


@pytest.mark.parametrize("how", ["shuffled within classes", "shifted by one row"])
def test_the_jpegs_in_another_order_are_refused(
    here: Path, run: Run, cifar10_first5000: Identity, shared_data: Path, how: str
) -> None:
    write_ranks(cifar10_first5000)
    table = pq.read_table(shared_data / "cifar10-jpeg-first5000" / PARQUET)
    labels = np.asarray(table["label"])
    if how == "shifted by one row":
        order = np.roll(np.arange(len(labels)), 1)
    else:
        order = np.empty(len(labels), dtype=np.int64)
        chance = np.random.default_rng(0)
        order[np.argsort(labels, kind="stable")] = np.lexsort((chance.random(len(labels)), labels))
        assert np.array_equal(labels[order], labels)
    Path("copy").mkdir()
    pq.write_table(table.take(order), f"copy/{PARQUET}")
    code, _, err = run("prune", "--keep", "80%", "--data", "copy")
    assert code == 1
    assert "were not made for this data" in err
    assert not Path("idx.npy").exists()


def test_ranks_of_all_are_refused_for_a_part(
    here: Path, run: Run, cifar10_train: ImageData
) -> None:
    write_ranks(cifar10_train.identity)
    np.savez("part.npz", images=cifar10_train.images[:10_000], labels=cifar10_train.labels[:10_000])
    code, _, err = run("prune", "--keep", "5000", "--data", "part.npz")
    assert code == 1
    assert "50,000 examples against 10,000" in err
    assert not Path("idx.npy").exists()
