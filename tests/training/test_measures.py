"""Measures at a checkpoint: against plain formulas, and the same after any interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from datacurate import profiling
from datacurate.attacks.minimum_perturbation import minimum_perturbation
from datacurate.data import DataSet, load
from datacurate.errors import CheckpointError, UnknownNameError
from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile
from datacurate.nets import build
from datacurate.recipes import PROFILE_RECIPES, Model, with_settings
from datacurate.training.checkpoints import load_network
from datacurate.training.measures import measure
from tests.training.conftest import EXECUTION


@pytest.fixture(scope="module")
def data() -> DataSet:
    """A hundred and fifty digits to train on."""
    whole = load("digits")
    return replace(whole, borrowed=np.arange(150, len(whole.train)))


def test_measures_of_logits_are_the_plain_formulas() -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (520, 8, 8, 1), dtype=np.uint8)  # more than a batch
    labels = chance.integers(0, 5, 520)
    net = build(Model("cnn-small", 4), 5, 1, (0.5,), (0.25,), seed=1).train()
    names = ("clean_probability", "margin", "el2n")
    found = measure(net, images, labels, names, cap=4, execution=EXECUTION)
    assert net.training
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(images / 255.0).float().permute(0, 3, 1, 2)).numpy()
    p, rows = softmax(logits.astype(np.float64), axis=1), np.arange(520)
    np.testing.assert_allclose(found["clean_probability"], p[rows, labels], rtol=1e-4)
    np.testing.assert_allclose(found["el2n"], np.linalg.norm(p - np.eye(5)[labels], axis=1), 1e-4)
    others = logits.copy()
    others[rows, labels] = -np.inf
    expected = logits[rows, labels] - others.max(axis=1)
    np.testing.assert_allclose(found["margin"], expected, rtol=1e-3, atol=1e-4)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


class Brightness(nn.Module):
    """Class 1 where the mean pixel exceeds 100.5/255."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = 255 * x.mean(dim=(1, 2, 3)) - 100.5
        return torch.stack([-margin, margin], dim=1)


def test_the_minimum_perturbation_is_whole_and_its_cap_is_told_apart() -> None:
    levels = np.array([90, 97, 100, 101, 103, 106, 110], dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (7, 4, 4, 1)).copy()
    found = measure(
        Brightness(), images, np.ones(7, int), ["minimum_perturbation"], cap=6, execution=EXECUTION
    )
    # From level 97 four steps reach 101; from 90 and 110 it takes 11 and 10, above the cap of 6.
    assert found["minimum_perturbation"].tolist() == [7, 4, 1, 1, 3, 6, 7]


def test_networks_that_do_not_fit() -> None:
    images = np.zeros((3, 4, 4, 1), dtype=np.uint8)
    with pytest.raises(CheckpointError, match="does not fit the data"):
        measure(Brightness(), images, np.array([0, 1, 2]), ["el2n"], cap=2, execution=EXECUTION)
    with pytest.raises(UnknownNameError, match="did you mean 'margin'"):
        measure(Brightness(), images, np.zeros(3, int), ["margn"], cap=2, execution=EXECUTION)


RECIPE = with_settings(
    PROFILE_RECIPES["smoke"],
    [
        "width=4",
        "runs=2",
        "epochs=2",
        "execution.dtype=float32",
        "measures=clean_probability,minimum_perturbation",
        "perturbation_cap=6",
    ],
)


def test_a_profile_killed_while_it_measures_ends_in_the_same_columns(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = profiling.profile(RECIPE, data, tmp_path / "a.ranks.h5", checkpoints=tmp_path)
    assert {"clean_probability", "minimum_perturbation"} <= set(whole.columns)

    calls = 0
    computed = minimum_perturbation

    def killed(*arguments: object, **settings: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:  # while the second run is measured
            raise KeyboardInterrupt
        return computed(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("datacurate.training.measures.minimum_perturbation", killed)
    out = tmp_path / "b.ranks.h5"
    with pytest.raises(KeyboardInterrupt):
        profiling.profile(RECIPE, data, out)
    assert len(rankfile.read(out).provenance.runs) == 1
    epochs: list[int] = []
    profiling.profile(RECIPE, data, out, on_epoch=lambda p: epochs.append(p.report.epoch))
    assert epochs == []  # nothing is trained again
    assert calls == 3  # nor is the first run measured again
    found = rankfile.read(out)
    assert columns_sha256(dict(found.columns)) == columns_sha256(dict(whole.columns))

    # They are those of the robust-best network, which --checkpoints keeps.
    net = load_network(tmp_path / "a.run1.pt").net
    images, labels = data.train.images[:150], data.train.labels[:150]
    names = ("clean_probability", "minimum_perturbation")
    again = measure(net, images, labels, names, cap=6, execution=EXECUTION)
    for name in names:
        assert np.array_equal(again[name], found.columns[name][:150, 1])
        assert np.isnan(found.columns[name][150:]).all()
    assert found.columns["minimum_perturbation"][:150].max() <= 7


def test_without_measures_there_are_no_columns(data: DataSet, tmp_path: Path) -> None:
    made = profiling.profile(with_settings(RECIPE, ["measures="]), data, tmp_path / "c.ranks.h5")
    assert "clean_probability" not in made.columns
