"""datacurate finds, ranks and prunes the training images that hurt adversarial robustness.

The public names are imported when first used, so that ``import datacurate`` is instant and torch
comes only with what computes::

    import datacurate

    data = datacurate.load("cifar10")
    recipe = datacurate.PROFILE_RECIPES["proxy"]
    ranks = datacurate.profile(recipe, data, Path("cifar10.ranks.h5"))
    index = datacurate.prune(ranks, 40_000)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datacurate.attacks.settings import AttackSettings
    from datacurate.data import DataSet, ImageData, load, load_train
    from datacurate.errors import DatacurateError
    from datacurate.evaluation import evaluate
    from datacurate.formats.indexfile import IndexFile
    from datacurate.formats.indexfile import read as read_index
    from datacurate.formats.indexfile import write as write_index
    from datacurate.formats.rankfile import RankFile
    from datacurate.formats.rankfile import read as read_ranks
    from datacurate.formats.rankfile import write as write_ranks
    from datacurate.profiling import profile
    from datacurate.pruning import prune
    from datacurate.recipes import (
        PROFILE_RECIPES,
        VERIFY_RECIPES,
        ProfileRecipe,
        VerifyRecipe,
        with_settings,
    )
    from datacurate.verification import verify

__version__ = "0.1.0"

_HOMES = {
    "AttackSettings": "attacks.settings",
    "DataSet": "data",
    "ImageData": "data",
    "load": "data",
    "load_train": "data",
    "DatacurateError": "errors",
    "evaluate": "evaluation",
    "IndexFile": "formats.indexfile",
    "read_index": "formats.indexfile:read",
    "write_index": "formats.indexfile:write",
    "RankFile": "formats.rankfile",
    "read_ranks": "formats.rankfile:read",
    "write_ranks": "formats.rankfile:write",
    "profile": "profiling",
    "prune": "pruning",
    "PROFILE_RECIPES": "recipes",
    "VERIFY_RECIPES": "recipes",
    "ProfileRecipe": "recipes",
    "VerifyRecipe": "recipes",
    "with_settings": "recipes",
    "verify": "verification",
}

__all__ = [
    "PROFILE_RECIPES",
    "VERIFY_RECIPES",
    "AttackSettings",
    "DataSet",
    "DatacurateError",
    "ImageData",
    "IndexFile",
    "ProfileRecipe",
    "RankFile",
    "VerifyRecipe",
    "evaluate",
    "load",
    "load_train",
    "profile",
    "prune",
    "read_index",
    "read_ranks",
    "verify",
    "with_settings",
    "write_index",
    "write_ranks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'datacurate' has no attribute {name!r}")
    home, _, called = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"datacurate.{home}"), called or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
