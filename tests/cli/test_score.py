from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datacurate.data import load
from datacurate.nets import build
from datacurate.recipes import Model
from datacurate.training.checkpoints import save_network
from tests.cli.conftest import Run

MODEL = Model("cnn-small", 4)
MAKES = """
from datacurate.nets import build
from datacurate.recipes import Model

def make():
    return build(Model("cnn-small", 4), 10, 1, (0.5,), (0.25,), seed=0)

number = 3
"""


@pytest.fixture
def checkpoint(here: Path) -> Path:
    net = build(MODEL, 10, 1, (0.5,), (0.25,), seed=5)
    names = load("digits").train.identity.class_names
    save_network(here / "ours.pt", net.state_dict(), MODEL, names, (8, 8, 1), {})
    weights = {f"module.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, here / "theirs.pt")
    (here / "mynets.py").write_text(MAKES)
    return here / "ours.pt"


def test_our_checkpoint_and_the_same_weights_of_the_user_s_own(checkpoint: Path, run: Run) -> None:
    common = ("digits", "--split", "test", "--cap", "3")
    code, out, err = run("score", "ours.pt", *common)
    assert code == 0, err
    assert "360 test examples of digits" in out
    code, out, err = run("score", "theirs.pt", *common, "--network", "mynets:make", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["file"] == "theirs.scores.csv"
    ours, theirs = Path("ours.scores.csv").read_text(), Path("theirs.scores.csv").read_text()
    assert ours == theirs
    rows = list(csv.DictReader(ours.splitlines()))
    assert [int(row["row"]) for row in rows] == list(range(360))
    assert [int(row["label"]) for row in rows] == load("digits").test.labels.tolist()
    assert {float(row["minimum_perturbation"]) for row in rows} <= {1, 2, 3, 4}
    means = {name: np.mean([float(row[name]) for row in rows]) for name in said["mean"]}
    assert said["mean"] == pytest.approx(means)
    assert sorted(means) == ["clean_probability", "el2n", "margin", "minimum_perturbation"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none.pt",), 1, "there is no checkpoint"),
        (("theirs.pt",), 1, "not a datacurate checkpoint"),
        (("ours.pt", "--measures", "el2m"), 2, "did you mean 'el2n'"),
        (("theirs.pt", "--network", "mynets"), 2, "is not an import path"),
        (("theirs.pt", "--network", "mynets:none"), 2, "cannot be imported"),
        (("theirs.pt", "--network", "nowhere:make"), 2, "cannot be imported"),
        (("theirs.pt", "--network", "mynets:number"), 2, "returns no network"),
        (("ours.pt", "--network", "mynets:make"), 1, "holds no state dict"),
        (("other.pt", "--network", "mynets:make"), 1, "do not fit mynets:make"),
    ],
)
def test_bad_input(
    checkpoint: Path, run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    other = build(Model("cnn-small", 8), 10, 1, (0.5,), (0.25,), seed=5)
    torch.save(other.state_dict(), "other.pt")
    found, out, err = run("score", arguments[0], "digits", *arguments[1:])
    assert found == code, err
    assert said in err
    assert out == ""
    assert not list(Path().glob("*.csv"))


def test_what_exists_is_not_replaced_and_other_data_is_refused(checkpoint: Path, run: Run) -> None:
    Path("ours.scores.csv").write_text("mine")
    code, _, err = run("score", "ours.pt", "digits")
    assert code == 1
    assert "exists already" in err
    net = build(MODEL, 4, 3, (0.5,) * 3, (0.25,) * 3, seed=5)
    save_network(Path("rgb.pt"), net.state_dict(), MODEL, tuple("abcd"), (32, 32, 3), {})
    code, _, err = run("score", "rgb.pt", "digits")
    assert code == 1
    assert "is not for this data" in err
