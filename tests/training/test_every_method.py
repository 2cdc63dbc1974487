"""Every method trains two kinds of network through `profile`, on real images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datacurate import profiling
from datacurate.data import DataSet, ImageData, load
from datacurate.formats import rankfile
from datacurate.formats.checking import check
from datacurate.identity import identify
from datacurate.ranks.scores import unpack
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.training.methods import METHODS

SETTINGS = ["width=4", "runs=1", "epochs=2", "execution.dtype=float32", "examples=40"]
SETTINGS += ["objective.tracking_steps=2", "perturbation_cap=3"]
SETTINGS += ["measures=clean_probability,minimum_perturbation", "attack.radius=8"]


@pytest.fixture(scope="module")
def digits() -> DataSet:
    """A hundred and thirty digits to train on: the last batch has two."""
    whole = load("digits")
    return replace(whole, borrowed=np.arange(130, len(whole.train)))


@pytest.mark.parametrize("net", ["preact-small", "cnn-small"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_profiles_digits(
    method: str, net: str, digits: DataSet, tmp_path: Path
) -> None:
    recipe = with_settings(
        PROFILE_RECIPES["smoke"], [*SETTINGS, f"method={method}", f"training.model.name={net}"]
    )
    out = tmp_path / "digits.ranks.h5"
    profiling.profile(recipe, digits, out)
    ranks = rankfile.read(out)
    assert ranks.provenance.recipe is not None
    assert ranks.provenance.recipe["training"]["method"] == method
    assert all(item.ok for item in check(out))
    assert np.array_equal(np.sort(ranks.columns["position"][:130]), np.arange(130))
    right = unpack(ranks.columns["correct"][:130, 0], 2)
    assert ranks.provenance.runs[0]["train_robust_accuracy"] == pytest.approx(right[:, 1].mean())
    assert {"clean_probability", "minimum_perturbation"} <= set(ranks.columns)


@pytest.fixture(scope="module")
def cifar10_first500(cifar10_train: ImageData) -> DataSet:
    """The first 500 training images of CIFAR-10; the next 100 choose the checkpoint."""

    def part(rows: slice, split: str) -> ImageData:
        images, labels = cifar10_train.images[rows], cifar10_train.labels[rows]
        names = cifar10_train.identity.class_names
        identity = identify("cifar10", split, images, labels, names)
        return ImageData(images, labels, identity, cifar10_train.source)

    train, test = part(slice(500), "train"), part(slice(500, 600), "test")
    return DataSet(train, test, flippable=True, borrowed=np.array([], dtype=np.int64))


@pytest.mark.real_data
@pytest.mark.parametrize("method", ["trades", "mart"])
def test_trades_and_mart_profile_real_photographs(
    method: str, cifar10_first500: DataSet, tmp_path: Path
) -> None:
    recipe = with_settings(
        PROFILE_RECIPES["smoke"],
        [*SETTINGS, f"method={method}", "epochs=1", "attack.steps=2", "attack.step=4"],
    )
    made = profiling.profile(recipe, cifar10_first500, tmp_path / "cifar10.ranks.h5")
    assert np.array_equal(np.sort(made.columns["position"]), np.arange(500))
    assert np.isfinite(made.columns["margin"]).all()
    assert made.columns["clean_probability"].shape == (500, 1)
