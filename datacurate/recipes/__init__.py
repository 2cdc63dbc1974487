"""Recipes: complete, frozen configurations. Everything about a run is in its recipe.

A recipe travels in the file that it produced. Some fields may be left open for the machine or the
data (``None``, ``"auto"``, 0 threads). They are decided once, before any training. The resolved
recipe is saved, hashed and resumed.
"""

from datacurate.recipes.fields import (
    Attack,
    Augmentation,
    CheckpointSelection,
    Execution,
    Measure,
    Model,
    Objective,
    Optimizer,
    ProfileRecipe,
    Training,
    VerifyRecipe,
)
from datacurate.recipes.named import PROFILE_RECIPES, VERIFY_RECIPES
from datacurate.recipes.settings import (
    as_dict,
    differences,
    from_dict,
    keys,
    load,
    recipe_hash,
    stored_recipe_hash,
    with_settings,
)

__all__ = [
    "PROFILE_RECIPES",
    "VERIFY_RECIPES",
    "Attack",
    "Augmentation",
    "CheckpointSelection",
    "Execution",
    "Measure",
    "Model",
    "Objective",
    "Optimizer",
    "ProfileRecipe",
    "Training",
    "VerifyRecipe",
    "as_dict",
    "differences",
    "from_dict",
    "keys",
    "load",
    "recipe_hash",
    "stored_recipe_hash",
    "with_settings",
]
