from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from datacurate import cli
from datacurate.data import ImageData
from datacurate.formats import indexfile, rankfile
from tests.made_ranks import CLASSES, made_identity, made_rank_file

Run = Callable[..., tuple[int, str, str]]


def snapshot(place: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(place.rglob("*")) if file.is_file()}


def test_the_only_rank_file_here_is_used_and_named(here: Path, run: Run) -> None:
    rankfile.write(here / "made.ranks.h5", made_rank_file())
    code, out, err = run("prune", "--keep", "80%")
    assert code == 0
    assert "made.ranks.h5" in err
    assert "recipe smoke" in err
    assert "48 of 60 kept" in out
    index = indexfile.read(here / "idx.npy")
    expected = made_rank_file().ranking().order[:48]
    assert index.kept.tolist() == sorted(expected.tolist())
    assert index.source["file"] == "made.ranks.h5"
    assert index.source["content_sha256"] == rankfile.read(here / "made.ranks.h5").content_sha256
    for name in CLASSES:
        assert name in out


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--keep", "30"], 30),
        (["--keep", "0.25", "--strategy", "problematic"], 15),
        (["--keep", "31", "--balanced"], 31),
        (["--keep", "30", "--floor", "9"], 30),
        (["--keep", "30", "--strategy", "random", "--seed", "5"], 30),
        (["--keep", "1"], 1),
        (["--keep", "1.0"], 60),
    ],
)
def test_strategies(here: Path, run: Run, arguments: list[str], kept: int) -> None:
    rankfile.write(here / "made.ranks.h5", made_rank_file())
    code, out, _ = run("prune", "made.ranks.h5", "--json", *arguments)
    assert code == 0
    said = json.loads(out)
    index = indexfile.read(here / "idx.npy")
    assert said["kept"] == len(index.kept) == kept
    assert said["selection"] == index.selection
    if "--balanced" in arguments:
        assert sorted(row["after"] for row in said["classes"]) == [10, 10, 11]


def test_mask_and_csv(here: Path, run: Run) -> None:
    rankfile.write(here / "made.ranks.h5", made_rank_file())
    assert run("prune", "--keep", "48", "--format", "mask", "--out", "mask.npy")[0] == 0
    assert np.load("mask.npy").sum() == 48
    assert run("prune", "--keep", "48", "--out", "idx.csv")[0] == 0
    assert Path("idx.csv").read_text().startswith('"row","kept"')


def test_a_gutted_class_is_warned_of(here: Path, run: Run) -> None:
    made = made_rank_file()
    labels = made.identity.labels
    # The cats are the most problematic: dropping 20 of 60 drops all of them.
    position = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
    columns = {"problematic_rank": position / 60, "position": position}
    given = dataclasses.replace(made.provenance, aggregation="given")
    rankfile.write(
        here / "a.ranks.h5", dataclasses.replace(made, columns=columns, provenance=given)
    )
    code, out, err = run("prune", "--keep", "40")
    assert code == 0
    assert "warning: cat loses 100% of its examples" in err
    assert "100.0%" in out
    assert indexfile.read(here / "idx.npy").warnings[0].startswith("cat loses")
    assert run("prune", "--keep", "40", "--balanced", "--force")[2].count("warning") == 0


def written(here: Path, change: Callable[[h5py.File], None] | None = None) -> None:
    rankfile.write(here / "made.ranks.h5", made_rank_file())
    if change:
        with h5py.File(here / "made.ranks.h5", "r+") as file:
            change(file)


def with_nan(here: Path) -> None:
    made = made_rank_file()
    score = made.columns["problematic_rank"].copy()
    score[3] = np.nan
    columns = {**made.columns, "problematic_rank": score}
    rankfile.write(here / "made.ranks.h5", dataclasses.replace(made, columns=columns))


def truncated(here: Path) -> None:
    written(here)
    whole = (here / "made.ranks.h5").read_bytes()
    (here / "made.ranks.h5").write_bytes(whole[: len(whole) // 2])


def foreign(here: Path) -> None:
    with h5py.File(here / "made.ranks.h5", "w") as file:
        file["data"] = np.zeros(3)


def linked(here: Path) -> None:
    def link(file: h5py.File) -> None:
        file["more"] = h5py.ExternalLink("/etc/hostname", "/")

    written(here, link)


def several(here: Path) -> None:
    written(here)
    rankfile.write(here / "other.ranks.h5", made_rank_file())


def none(here: Path) -> None:
    (here / "notes.txt").write_text("no ranks here")


def with_output(here: Path) -> None:
    written(here)
    (here / "idx.npy").write_text("precious")


def with_sidecar(here: Path) -> None:
    written(here)
    (here / "idx.npy.json").write_text("precious")


def part_profiled(here: Path) -> None:
    rankfile.write(here / "made.ranks.h5", made_rank_file(profiled=np.arange(30)))


@pytest.mark.parametrize(
    ("prepare", "arguments", "code", "message"),
    [
        (written, ["--keep", "0"], 2, "--keep 0 is out of range"),
        (written, ["--keep", "61"], 2, "1 to 60 examples"),
        (written, ["--keep", "many"], 2, "a count (40000), a fraction (0.8)"),
        (part_profiled, ["--keep", "31"], 2, "1 to 30 examples"),
        (written, ["--keep", "30", "--balanced", "--floor", "3"], 2, "has no floor"),
        (written, ["--keep", "30", "--floor", "15"], 2, "--keep of at least 45"),
        (written, ["--keep", "30", "--floor", "25"], 2, "ant: --floor 25 is out of range"),
        (written, ["absent.ranks.h5", "--keep", "30"], 2, "in this directory: made.ranks.h5"),
        (none, ["absent.ranks.h5", "--keep", "30"], 2, "datacurate profile cifar10"),
        (none, ["notes.txt", "--keep", "30"], 1, "not a rank file"),
        (none, [".", "--keep", "30"], 1, "there is no file"),
        (several, ["--keep", "30"], 2, "made.ranks.h5, other.ranks.h5"),
        (with_nan, ["--keep", "30"], 1, "a score is not a number"),
        (truncated, ["--keep", "30"], 1, "damaged or incomplete"),
        (foreign, ["--keep", "30"], 1, "not a rank file"),
        (linked, ["--keep", "30"], 1, "soft or external link"),
        (with_output, ["--keep", "30"], 1, "pass --force"),
        (with_sidecar, ["--keep", "30"], 1, "idx.npy.json exists already"),
        (written, ["--keep", "30", "--out", "made.ranks.h5"], 1, "exists already"),
        (written, ["--keep", "30", "--out", "made.ranks.h5", "--force"], 1, "rank file itself"),
        (written, ["--keep", "30", "--out", "missing/idx.npy"], 1, "mkdir -p missing"),
        (written, ["--keep", "30", "--out", "made.ranks.h5/idx.npy"], 1, "no directory"),
        (written, ["--keep", "30", "--out", "."], 1, "is a directory"),
        (written, ["--keep", "30", "--out", "/proc/idx.npy"], 1, "/proc"),
        (written, ["--keep", "30", "--data", "nowhere"], 2, "nowhere"),
        (written, [], 2, "--keep"),
    ],
)
def test_bad_input_is_one_message_and_changes_nothing(
    here: Path,
    run: Run,
    prepare: Callable[[Path], None],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    prepare(here)
    before = snapshot(here)
    got, out, err = run("prune", *arguments)
    assert got == code
    assert message in " ".join(err.split())
    assert err.count("error:") <= 1
    assert "internal" not in err
    assert "Traceback" not in err
    assert out == ""
    assert snapshot(here) == before


def stand_in(monkeypatch: pytest.MonkeyPatch, identity: Any) -> None:
    """Make the data loader return a data set of this identity."""
    images = np.zeros((len(identity), 1, 1, 3), dtype=np.uint8)
    data = ImageData(images, identity.labels, identity, {})
    monkeypatch.setattr("datacurate.data.load_train", lambda *_, **__: data)


def test_data_at_hand_is_compared(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    written(here)
    stand_in(monkeypatch, made_identity())
    assert run("prune", "--keep", "30", "--data", "there")[0] == 0
    said = indexfile.read(here / "idx.npy")
    assert said.data_check.startswith("the same images in the same order")
    assert not any("copy" in line for line in said.warnings)

    before = snapshot(here)
    stand_in(monkeypatch, made_identity(seed=1))
    code, _, err = run("prune", "--keep", "30", "--data", "there", "--force")
    assert code == 1
    assert "the ranks in made.ranks.h5 were not made for this data" in err
    assert snapshot(here) == before


def test_a_reencoded_copy_is_warned_of(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(here)
    same = made_identity()
    assert same.content_hash is not None
    stand_in(monkeypatch, dataclasses.replace(same, content_hash=same.content_hash + 1))
    code, _, err = run("prune", "--keep", "30", "--data", "there")
    assert code == 0
    assert "warning: a re-encoded copy" in err
    assert "a re-encoded copy" in indexfile.read(here / "idx.npy").warnings[0]


def test_help_has_an_example() -> None:
    for command in ("prune", "show"):
        result = CliRunner().invoke(cli.app, [command, "--help"])
        assert result.exit_code == 0
        assert f"Example: datacurate {command} cifar10.ranks.h5" in result.output


def test_the_installed_command(here: Path) -> None:
    written(here)
    command = Path(sys.executable).with_name("datacurate")
    plain = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [command, "prune", "--keep", "48", "--json"], capture_output=True, text=True, env=plain
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 48
    again = subprocess.run(
        [command, "prune", "--keep", "48"], capture_output=True, text=True, env=plain
    )
    assert again.returncode == 1
    assert again.stderr.startswith("error: idx.npy exists already")
    assert again.stdout == ""
