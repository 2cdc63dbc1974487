from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datacurate.formats import indexfile, rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.pruning import prune
from tests.made_ranks import made_identity, made_rank_file

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ranks(here: Path) -> RankFile:
    made = made_rank_file(profiled=np.arange(3, 60))
    rankfile.write(here / "made.ranks.h5", made)
    return made


def test_a_rank_file_for_people(ranks: RankFile, run: Run) -> None:
    code, out, _ = run("show", "made.ranks.h5")
    assert code == 0
    for said in (
        "made train, 60 examples, 3 classes, 16×16×3",
        "57 examples by mean-rank",
        f"smoke {ranks.provenance.recipe_hash}",
        "seed 1, epochs 12, best epoch 11, clean 75.00%, robust 50.00%, 2 s",
        "processor made up",
        "0.9 to 1.0",
        "█",
    ):
        assert said in out


def test_a_rank_file_as_json(ranks: RankFile, run: Run) -> None:
    code, out, _ = run("show", "made.ranks.h5", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["profiled"] == said["ties"]["examples"] == 57
    assert sum(said["instability"]) == 57
    assert said["recipe"] == ranks.provenance.recipe
    assert said["columns"]["correct"] == "uint8"
    assert [run["seed"] for run in said["runs"]] == [0, 1]


def test_check_recomputes(ranks: RankFile, run: Run, here: Path) -> None:
    code, out, _ = run("show", "made.ranks.h5", "--check")
    assert code == 0
    assert "FAILS" not in out
    assert "ok     position from rank and tie rule" in out

    score = ranks.columns["problematic_rank"].copy()
    score[10] = 0.0001
    broken = dataclasses.replace(ranks, columns={**ranks.columns, "problematic_rank": score})
    rankfile.write(here / "broken.ranks.h5", broken)
    code, out, err = run("show", "broken.ranks.h5", "--check")
    assert code == 1
    assert "FAILS  rank from instability: mean-rank: 1 values differ" in out
    assert "error: broken.ranks.h5 is inconsistent: rank from instability" in err
    code, out, _ = run("show", "broken.ranks.h5", "--check", "--json")
    assert code == 1
    failing = [item["name"] for item in json.loads(out) if not item["ok"]]
    assert failing == ["rank from instability", "position from rank and tie rule"]


def test_ranks_without_runs_or_recipe(here: Path, run: Run) -> None:
    made = made_rank_file()
    provenance = dataclasses.replace(
        made.provenance, kind="import", aggregation="given", runs=(), recipe=None, recipe_hash=""
    )
    order = np.arange(60)
    columns = {"problematic_rank": order / 60, "position": order}
    taken = RankFile(made_identity(images=False), columns, provenance)
    rankfile.write(here / "taken.ranks.h5", taken)
    code, out, _ = run("show", "taken.ranks.h5")
    assert code == 0
    assert "made without images" in out
    assert run("show", "taken.ranks.h5", "--check")[0] == 0
    assert json.loads(run("show", "taken.ranks.h5", "--json")[1])["instability"] is None


def test_a_terminal_does_not_obey_a_file(ranks: RankFile, run: Run, here: Path) -> None:
    index = prune(ranks, 40, name="made.ranks.h5")
    index = dataclasses.replace(index, warnings=("\x1b[2J[red]gone[/]",))
    indexfile.write(here / "idx.npy", index)
    code, out, _ = run("show", "idx.npy")
    assert code == 0
    assert "\x1b" not in out
    assert "[2J[red]gone[/]" in out


def test_an_index_file(ranks: RankFile, run: Run, here: Path) -> None:
    indexfile.write(here / "idx.npy", prune(ranks, 40, name="made.ranks.h5"))
    code, out, _ = run("show", "idx.npy")
    assert code == 0
    assert "40 of 60 rows kept" in out
    assert "file made.ranks.h5" in out
    assert "strategy friendly" in out
    said = json.loads(run("show", "idx.npy", "--json")[1])
    assert said["kept"] == 40
    assert said["dataset"]["name"] == "made"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.ranks.h5", None, "there is no file"),
        ("a.ranks.h5", b"", "an empty file"),
        ("a.ranks.h5", b"text", "is not a rank file"),
        ("a.npy", b"text", "damaged or not a file of datacurate"),
    ],
)
def test_bad_input(here: Path, run: Run, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (here / name).write_bytes(content)
    for arguments in ([name], [name, "--check"], [name, "--json"]):
        code, out, err = run("show", *arguments)
        assert code == 1
        assert out == ""
        assert message in err


def test_the_installed_command(ranks: RankFile) -> None:
    command = Path(sys.executable).with_name("datacurate")
    done = subprocess.run([command, "show", "made.ranks.h5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "learning instability" in done.stdout
    assert "\x1b" not in done.stdout
