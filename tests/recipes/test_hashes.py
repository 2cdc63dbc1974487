"""Published recipe hashes stay valid, also when recipes get new fields."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from datacurate.formats import rankfile
from datacurate.recipes import (
    PROFILE_RECIPES,
    VERIFY_RECIPES,
    ProfileRecipe,
    VerifyRecipe,
    as_dict,
    from_dict,
    recipe_hash,
    stored_recipe_hash,
)
from datacurate.recipes.fields import ranged

ROOT = Path(__file__).resolve().parents[2]
NAMED = {
    "profile paper": "6ca7b0087c94e628",
    "profile paper-wrn": "16a9037c3e873fd5",
    "profile paper-cifar100": "f08ac3fcaefa2d5e",
    "profile paper-tiny-imagenet": "9767f0507ba24b9d",
    "profile proxy": "e22ebe44ff8c2008",
    "profile proxy-quick": "731e690b8ed6e091",
    "profile smoke": "faed1beab95b88c2",
    "profile demo": "f2b1bea6a4b7e31d",
    "verify paper": "907742a0ca34aa15",
    "verify paper-wrn": "48c8d01fa141a7bd",
    "verify paper-cifar100": "1ed11f637d008e41",
    "verify paper-tiny-imagenet": "73576a20fca2efd8",
    "verify proxy": "a4557cda5a1fd3e3",
    "verify smoke": "802563ea4733ce96",
    "verify demo": "ce7751e219c3c7af",
}
ARTIFACTS = {
    "cifar10-proxy/cifar10-proxy.ranks.h5": "a427459aa93bad42",
    "digits/digits.ranks.h5": "493a71f15f5bbe2a",
}
RECORDS = {
    "halves-custom.json": "61f4bee79e121ffb",
    "halves-fast.json": "f534496d1c5fe980",
    "halves-reversed-fast.json": "50d385597a39797e",
    "halves-three-seeds-custom.json": "f1d813dc2a7de4f3",
    "kept-custom.json": "01b4fbe7339dee90",
    "kept-fast.json": "ed14222fbb43fcf0",
}


@dataclass(frozen=True)
class LaterRecipe(ProfileRecipe):
    """A profile recipe of a later version, with one more field and another default."""

    warm_start: float = ranged(0.5, least=0, most=1, as_before=0.0)


def later(recipe: ProfileRecipe, warm_start: float) -> LaterRecipe:
    values = {item.name: getattr(recipe, item.name) for item in dataclasses.fields(recipe)}
    return LaterRecipe(**values, warm_start=warm_start)


def test_named_recipes_keep_their_hashes() -> None:
    recipes: dict[str, ProfileRecipe | VerifyRecipe] = {
        **{f"profile {k}": v for k, v in PROFILE_RECIPES.items()},
        **{f"verify {k}": v for k, v in VERIFY_RECIPES.items()},
    }
    assert {name: recipe_hash(recipe) for name, recipe in recipes.items()} == NAMED


@pytest.mark.parametrize("file", ARTIFACTS)
def test_shipped_ranks_keep_their_hashes(file: str) -> None:
    stated = rankfile.read(ROOT / "artifacts" / file).provenance
    assert stated.recipe is not None
    assert stated.recipe_hash == stored_recipe_hash(stated.recipe) == ARTIFACTS[file]


@pytest.mark.parametrize("file", RECORDS)
def test_records_of_the_docs_keep_their_hashes(file: str) -> None:
    record = json.loads((ROOT / "docs" / "results" / file).read_text(encoding="utf-8"))
    assert record["recipe_hash"] == stored_recipe_hash(record["recipe"]) == RECORDS[file]


@pytest.mark.parametrize("name", PROFILE_RECIPES)
def test_a_new_field_counts_only_where_it_differs_from_before(name: str) -> None:
    recipe = PROFILE_RECIPES[name]
    assert recipe_hash(later(recipe, 0.0)) == recipe_hash(recipe)
    assert recipe_hash(later(recipe, 0.25)) != recipe_hash(recipe)
    assert recipe_hash(later(recipe, 0.5)) != recipe_hash(later(recipe, 0.25))


def test_a_missing_field_means_as_before_and_not_the_default() -> None:
    recipe = PROFILE_RECIPES["proxy"]
    read = from_dict(LaterRecipe, as_dict(recipe))
    assert isinstance(read, LaterRecipe)
    assert read.warm_start == 0.0
    assert recipe_hash(read) == recipe_hash(recipe)
    changed = replace(read, warm_start=0.75)
    assert as_dict(changed)["warm_start"] == 0.75
    assert from_dict(LaterRecipe, as_dict(changed)) == changed
