"""Rank files made up for tests: small, and the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np

from datacurate.formats import assembling as runs
from datacurate.formats import provenance
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity, identify, without_images
from datacurate.ranks.scores import RunRecord, pack
from datacurate.recipes import PROFILE_RECIPES, with_settings

CLASSES = ("ant", "bee", "cat")
CREATED = "2026-01-02T03:04:05Z"


def made_identity(examples: int = 60, images: bool = True, seed: int = 0) -> Identity:
    chance = np.random.default_rng(seed)
    labels = np.arange(examples) % len(CLASSES)
    if not images:
        return without_images("made", "train", labels, CLASSES)
    # Smooth pictures: noise has no look that a re-encoding keeps.
    coarse = chance.integers(0, 256, (examples, 4, 4, 3))
    pictures = coarse.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    return identify("made", "train", pictures, labels, CLASSES)


def made_records(
    examples: int, number: int, epochs: int, seed: int = 0, **measures: Any
) -> list[RunRecord]:
    chance = np.random.default_rng(seed + 1)
    difficulty = chance.random((examples, 1))
    records = []
    for _ in range(number):
        correct = chance.random((examples, epochs)) > difficulty
        correct[: examples // 10] = False  # some are never learned
        records.append(
            RunRecord(
                epochs,
                pack(correct),
                chance.random(examples, dtype=np.float32),
                chance.normal(size=examples).astype(np.float32),
                measures,
            )
        )
    return records


def made_rank_file(
    examples: int = 60,
    number: int = 2,
    epochs: int = 12,
    *,
    profiled: Any = None,
    images: bool = True,
    aggregate: str = "mean-rank",
    seed: int = 0,
) -> RankFile:
    """Return a rank file of so many examples and runs, of which `profiled` rows have ranks."""
    recipe = with_settings(
        PROFILE_RECIPES["smoke"],
        [f"runs={number}", f"training.epochs={epochs}", f"aggregate={aggregate}"],
    )
    stated = [
        {
            "seed": run,
            "epochs": epochs,
            "seconds": 1.5,
            "best_epoch": epochs - 1,
            "clean_accuracy": 0.75,
            "robust_accuracy": 0.5,
        }
        for run in range(number)
    ]
    made = provenance.Provenance(
        kind="profile",
        aggregation=recipe.aggregate,
        runs=tuple(stated),
        recipe=provenance.of_profile(recipe, stated, {}).recipe,
        recipe_hash=provenance.of_profile(recipe, stated, {}).recipe_hash,
        environment={"python": "3.11", "processor": "made up"},
        source={"layout": "made"},
        created=CREATED,
    )
    rows = None if profiled is None else np.asarray(profiled, dtype=np.int64)
    size = examples if rows is None else len(rows)
    records = made_records(size, number, epochs, seed)
    return runs.from_runs(made_identity(examples, images, seed), records, made, rows)
