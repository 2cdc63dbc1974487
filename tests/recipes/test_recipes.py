"""Recipes: round trips, hashes, settings, files, and refusals with the nearest right name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from datacurate.errors import RecipeError, UnknownNameError
from datacurate.recipes import (
    PROFILE_RECIPES,
    VERIFY_RECIPES,
    ProfileRecipe,
    VerifyRecipe,
    as_dict,
    differences,
    from_dict,
    keys,
    load,
    recipe_hash,
    with_settings,
)

_FRACTIONS = ("momentum", "warmup", "factor", "memorization")


@pytest.mark.parametrize("name", PROFILE_RECIPES)
def test_profile_recipe_survives_its_dictionary(name: str) -> None:
    recipe = PROFILE_RECIPES[name]
    assert from_dict(ProfileRecipe, as_dict(recipe)) == recipe


@pytest.mark.parametrize("name", VERIFY_RECIPES)
def test_verify_recipe_survives_its_dictionary(name: str) -> None:
    recipe = VERIFY_RECIPES[name]
    assert from_dict(VerifyRecipe, as_dict(recipe)) == recipe


def test_every_field_but_the_summary_changes_the_hash() -> None:
    recipe = PROFILE_RECIPES["proxy"]
    assert recipe_hash(dataclasses.replace(recipe, summary="other words")) == recipe_hash(recipe)
    other = {
        "seed": "7",
        "runs": "9",
        "aggregate": "pooled",
        "measures": "minimum_perturbation",
        "rank_by": "margin",
        "final_attack.start": "uniform",
        "training.method": "trades",
        "training.model.name": "preact-resnet18",
        "training.attack.start": "zero",
        "training.optimizer.schedule": "steps",
        "training.optimizer.milestones": "1,2",
        "training.augmentation.padding": "3",
        "training.augmentation.flip": "no",
        "training.selection.attack.start": "uniform",
        "execution.device": "cuda",
        "execution.dtype": "float32",
        "execution.kernels": "compiled",
    }
    for key in keys(recipe):
        value = other.get(key, "0.05" if key.split(".")[-1] in _FRACTIONS else "5")
        changed = with_settings(recipe, [f"{key}={value}"])
        assert recipe_hash(changed) != recipe_hash(recipe), key
        assert [line.split(":")[0] for line in differences(recipe, changed)] == [key]


def test_the_paper_recipe_is_the_papers() -> None:
    # Dong et al. 2021, appendices C and A.2; the test attack has radius 8/255 and a zero start.
    recipe = PROFILE_RECIPES["paper"]
    training = recipe.training
    assert recipe.runs == 10
    assert recipe.aggregate == "mean-rank"
    assert (training.model.name, training.epochs) == ("preact-resnet18", 160)
    assert (training.attack.radius, training.attack.step, training.attack.steps) == (8, 2, 10)
    assert training.attack.start == "uniform"
    assert training.selection.attack.start == "zero"
    optimizer = training.optimizer
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 5e-4)
    assert (optimizer.batch_size, optimizer.milestones, optimizer.factor) == (128, (80, 120), 0.1)
    # Table 1's PGD row.
    verified = VERIFY_RECIPES["paper"]
    assert verified.training.attack.radius == 12
    assert (verified.radius, verified.seeds, verified.suite) == (8, 5, "standard")


def test_a_short_key_means_the_shallowest_path() -> None:
    recipe = with_settings(PROFILE_RECIPES["proxy"], ["radius=4/255", "epochs=3", "width=auto"])
    assert recipe.training.attack.radius == 4
    assert recipe.training.selection.attack.radius == 8
    assert recipe.final_attack == PROFILE_RECIPES["proxy"].final_attack
    assert recipe.training.epochs == 3
    assert recipe.training.model.width is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epoch=3", "did you mean 'epochs'"),
        ("radius=0", "out of range"),
        ("radius=nan", "takes float"),
        ("batch_size=many", "takes int"),
        ("epochs=1.5", "takes int"),
        ("epochs=0", "out of range"),
        ("runs=0", "out of range"),
        ("epochs", "has no value"),
        ("training=3", "there is no recipe key"),
        ("dtype=float33", "did you mean 'float32'"),
        ("flip=maybe", "takes"),
    ],
)
def test_bad_settings_are_refused_in_one_message(setting: str, said: str) -> None:
    with pytest.raises((RecipeError, UnknownNameError)) as caught:
        with_settings(PROFILE_RECIPES["proxy"], [setting])
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_unknown_recipe_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="there is no recipe called 'proxi'") as caught:
        load(PROFILE_RECIPES, "proxi")
    assert "did you mean 'proxy'" in str(caught.value)


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "proxy"\nruns = 3\n[training.optimizer]\nmilestones = [4, 6]\n')
    recipe = load(PROFILE_RECIPES, str(path))
    assert recipe.name == "mine"
    assert recipe.runs == 3
    assert recipe.training.optimizer.milestones == (4, 6)
    assert recipe.training.epochs == PROFILE_RECIPES["proxy"].training.epochs


@pytest.mark.parametrize("text", ["runs = ", "runs = 'three'", "[training]\nradius = 3", "x = 1"])
def test_bad_recipe_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises((RecipeError, UnknownNameError)):
        load(PROFILE_RECIPES, str(path))
    with pytest.raises(RecipeError, match="cannot be read"):
        load(PROFILE_RECIPES, str(tmp_path / "none.toml"))
