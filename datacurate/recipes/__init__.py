"""Recipes: complete, frozen configurations. Nothing about a run is decided outside its recipe.

A recipe travels in the file it produced. Fields may be left to the machine or the data (``None``,
``"auto"``, 0 threads); they are filled in once, before anything is trained, and the filled recipe
is what is saved, hashed and resumed.
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
