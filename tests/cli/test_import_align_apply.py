"""From somebody else's ranks to a pruned data set, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate.data import ImageData, load, load_train
from datacurate.formats import indexfile, rankfile
from datacurate.formats.checking import check

Run = Callable[..., tuple[int, str, str]]
N = 90


@pytest.fixture
def scored(here: Path) -> Path:
    """Images of one's own, a shuffled copy of them, and scores for the first order."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(N) % 3
    by_class = [chance.permutation(np.arange(label, N, 3)) for label in range(3)]
    order = np.stack(by_class, axis=1).ravel()  # within classes: the labels stay as they are
    for name, rows in (("mine", np.arange(N)), ("shuffled", order)):
        np.savez(here / f"{name}.npz", images=images[rows], labels=labels[rows])
    np.save(here / "order.npy", order)
    np.save(here / "loss.npy", chance.random(N))
    return here


def imported(run: Run, *more: str) -> tuple[int, str, str]:
    return run(
        *("import", "loss.npy", "--from", "scores", "--direction", "high"),
        *("--dataset", "mine.npz", "--out", "a.ranks.h5", *more),
    )


def test_a_shuffled_copy_is_refused_by_prune_and_mended_by_align(scored: Path, run: Run) -> None:
    code, out, err = imported(run)
    assert (code, "problematic: score high" in out, "warning" in err) == (0, True, False)
    code, _, err = run("prune", "a.ranks.h5", "--keep", "30", "--data", "shuffled.npz")
    assert code == 1
    assert "the same images in another order" in err
    assert "datacurate align FILE" in err
    assert not Path("idx.npy").exists()
    code, out, _ = run(
        "align", "a.ranks.h5", "--data", "shuffled.npz", "--out", "b.ranks.h5", "--json"
    )
    assert code == 0
    assert {**json.loads(out), "file": 0, "content_sha256": 0} == {
        **dict.fromkeys(("file", "content_sha256", "duplicates", "surplus"), 0),
        **dict.fromkeys(("relabelled", "missing", "foreign"), 0),
        "moved": int(np.count_nonzero(np.load("order.npy") != np.arange(N))),
    }
    assert all(item.ok for item in check(Path("b.ranks.h5")))
    code, _, err = run("prune", "b.ranks.h5", "--keep", "30", "--data", "shuffled.npz")
    assert code == 0, err
    lowest = np.argsort(np.load("loss.npy")[np.load("order.npy")])[:30]
    assert indexfile.read(Path("idx.npy")).kept.tolist() == sorted(lowest.tolist())

    code, _, err = run("apply", "idx.npy", "--data", "mine.npz", "--out", "pruned")
    assert (code, "not made for this data" in err) == (1, True)
    assert not Path("pruned").exists()
    code, out, err = run("apply", "idx.npy", "--data", "shuffled.npz", "--out", "pruned")
    assert code == 0, err
    assert "30 of 90 images, npz" in out
    kept = load_train("shuffled.npz").images[np.sort(lowest)]
    assert np.array_equal(load("pruned").train.images, kept)
    assert run("apply", "idx.npy", "--data", "shuffled.npz", "--out", "pruned")[0] == 1


def test_out_and_in_again_is_exact(scored: Path, run: Run) -> None:
    assert imported(run)[0] == 0
    assert run("show", "a.ranks.h5", "--column", "score", "--out", "back.npy")[0] == 0
    assert Path("back.npy").read_bytes() == Path("loss.npy").read_bytes()
    Path("back.npy").replace("loss.npy")
    before = rankfile.read(Path("a.ranks.h5")).content_sha256
    code, _, err = imported(run)
    assert (code, "--force" in err) == (1, True)
    assert imported(run, "--force")[0] == 0
    assert rankfile.read(Path("a.ranks.h5")).content_sha256 == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "a.ranks.h5", "--column", "nonsense", "--out", "x.npy"], 2, "no column called"),
        (["show", "a.ranks.h5", "--column", "score"], 2, "go together"),
        (["show", "a.ranks.h5", "--column", "score", "--out", "loss.npy"], 1, "exists already"),
        (["prune", "a.ranks.h5", "--keep", "9", "--by", "aum"], 2, "score"),
        (["align", "loss.npy", "--data", "mine.npz", "--out", "x"], 1, "is not a rank file"),
        (["align", "a.ranks.h5", "--data", "mine.npz", "--out", "a.ranks.h5"], 1, "exists"),
        (["apply", "loss.npy", "--data", "mine.npz", "--out", "x"], 1, "not a list of rows"),
    ],
)
def test_bad_input_is_one_message_and_changes_nothing(
    scored: Path, run: Run, arguments: list[str], code: int, message: str
) -> None:
    assert imported(run)[0] == 0
    before = {file.name: file.read_bytes() for file in scored.iterdir()}
    got, _, err = run(*arguments)
    assert got == code
    assert message in err
    assert "Traceback" not in err
    assert {file.name: file.read_bytes() for file in scored.iterdir()} == before


@pytest.mark.real_data
def test_the_authors_ranks(
    here: Path, run: Run, upstream_npy: Path, cifar10_train: ImageData, monkeypatch: Any
) -> None:
    """The 40,000 lowest; the 2,500 lowest of each class; out and in again to the byte."""
    monkeypatch.setattr("datacurate.importing.load_train", lambda *_, **__: cifar10_train)
    data = ("--dataset", "cifar10", "--data", ".")
    code, _, err = run("import", str(upstream_npy), "--from", "upstream", *data, "--out", "u.h5")
    assert code == 0, err
    rank, labels = np.load(upstream_npy), cifar10_train.labels
    source = rankfile.read(here / "u.h5").provenance.source
    assert source["url"].endswith("/prob_rank.npy")
    assert source["sha256"].startswith("b2613e5a2fd22a3a")

    assert run("prune", "u.h5", "--keep", "40000", "--out", "plain.npy")[0] == 0
    assert np.array_equal(np.load("plain.npy"), np.sort(np.argsort(rank)[:40_000]))
    assert run("prune", "u.h5", "--balanced", "--keep", "25000", "--out", "even.npy")[0] == 0
    kept = np.load("even.npy")
    for label in range(10):
        mine = np.flatnonzero(labels == label)
        lowest = mine[np.argsort(rank[mine])[:2500]]
        assert np.array_equal(kept[labels[kept] == label], np.sort(lowest))

    run("show", "u.h5", "--column", "problematic_rank", "--out", "prob_rank.npy")
    assert Path("prob_rank.npy").read_bytes() == upstream_npy.read_bytes()
    run("import", "prob_rank.npy", "--from", "upstream", *data, "--out", "again.h5")
    assert Path("again.h5").read_bytes() == Path("u.h5").read_bytes()
