from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from datacurate.formats import rankfile
from tests.cli.conftest import Run
from tests.made_ranks import made_identity, made_rank_file


@pytest.fixture
def files(here: Path) -> Path:
    rankfile.write(here / "a.ranks.h5", made_rank_file(number=4))
    other = made_rank_file(number=2, seed=7)
    other = dataclasses.replace(other, identity=made_identity())
    rankfile.write(here / "b.ranks.h5", other)
    return here


def test_two_files(files: Path, run: Run) -> None:
    code, out, err = run("compare", "a.ranks.h5", "b.ranks.h5", "--per-class")
    assert code == 0, err
    assert "a.ranks.h5 and b.ranks.h5: Spearman " in out
    assert "IoU of the 12 most problematic" in out
    assert "of 48 kept by both; 60 examples" in out
    for name in ("ant", "bee", "cat"):
        assert f"  {name}: Spearman" in out
    code, out, _ = run("compare", "a.ranks.h5", "a.ranks.h5", "--json")
    (pair,) = json.loads(out)["pairs"]
    assert (pair["spearman"], pair["kendall"], pair["iou"], pair["overlap"]) == (1, 1, 1, 1)
    assert pair["between"] == ["a.ranks.h5", "a.ranks.h5 (2)"]
    assert json.loads(out)["enough_runs"] is None


def test_the_runs_of_one_file(files: Path, run: Run) -> None:
    code, out, err = run("compare", "a.ranks.h5", "--repetitions", "20")
    assert code == 0, err
    assert "mean of 6 pairs" in out
    assert "are 4 runs enough?" in out
    assert "2 against 2 other runs: Spearman" in out
    assert "of 48 kept examples" in out
    code, out, _ = run("compare", "a.ranks.h5", "--repetitions", "20", "--json", "--keep", "30")
    said = json.loads(out)
    assert len(said["pairs"]) == 6
    assert said["enough_runs"]["kept"] == 30
    assert [half["runs"] for half in said["enough_runs"]["halves"]] == [1, 2]


def test_measures_of_one_file(files: Path, run: Run) -> None:
    arguments = ("--by", "instability", "--by", "margin", "--by", "first_learned")
    code, out, err = run("compare", "a.ranks.h5", *arguments)
    assert code == 0, err
    assert "instability and margin: Spearman" in out
    assert "enough" not in out


def test_what_cannot_be_compared(files: Path, run: Run) -> None:
    rankfile.write(files / "one.ranks.h5", made_rank_file(number=1))
    rankfile.write(files / "short.ranks.h5", made_rank_file(examples=30))
    for arguments, code, said in (
        (("one.ranks.h5",), 2, "nothing to compare it with"),
        (("a.ranks.h5", "short.ranks.h5"), 1, "were not made for this data"),
        (("a.ranks.h5", "none.ranks.h5"), 1, "there is no file"),
        (("a.ranks.h5", "b.ranks.h5", "--by", "margn"), 2, "did you mean 'margin'"),
        (("a.ranks.h5", "--by", "margin"), 2, "compared by the columns of its recipe"),
        (("a.ranks.h5", "b.ranks.h5", "--keep", "61"), 2, "out of range"),
    ):
        found, out, err = run("compare", *arguments)
        assert found == code, err
        assert said in err
        assert out == ""
