"""A profile that takes the time there is: runs and epochs from a budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from datacurate import profiling
from datacurate.data import DataSet
from datacurate.profiling import estimates
from datacurate.recipes import ProfileRecipe, differences, with_settings
from datacurate.workers.workspace import requested_before


def within_budget(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    seconds: float,
    parallel: int = 1,
    *,
    force: bool = False,
) -> ProfileRecipe:
    """Return a recipe with as many runs and epochs as fit into a time on this machine.

    If unfinished work leads to `out` that differs from the recipe in nothing else, its numbers are
    taken: a budget is for the whole of it, and timing again would give others.

    Parameters
    ----------
    recipe : ProfileRecipe
        As asked for; its epochs are the most that are chosen.
    data : DataSet
    out : Path
        ``NAME.ranks.h5``, where the profile will be.
    seconds : float
        For the whole profile, of which a tenth is kept in reserve.
    parallel : int
        How many runs may go on at a time.
    force : bool
        Whether unfinished work there is to be forgotten.

    Raises
    ------
    UsageError
        If the time is too short for `datacurate.profiling.estimates.FEWEST_EPOCHS`.
    """
    before = None if force else requested_before(profiling.state_directory(out), ProfileRecipe)
    if before is not None:
        again = replace(
            recipe,
            runs=before.runs,
            training=replace(recipe.training, epochs=before.training.epochs),
        )
        return before if not differences(before, again) else recipe
    full = profiling.resolved(recipe, data, parallel)
    known = estimates.cost(full, profiling.training_data(data))
    chosen = estimates.within(full, seconds, known, parallel)
    settings = [f"runs={chosen.runs}", f"training.epochs={chosen.training.epochs}"]
    return with_settings(recipe, settings)
