"""The plan of a profile: everything that is decided before it runs.

A command makes one plan. The same object is printed, estimated and run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from datacurate.data import DataSet
from datacurate.errors import FileError, OutputExistsError
from datacurate.formats import rankfile
from datacurate.nets import check_name
from datacurate.notices import Notify
from datacurate.outputs import refuse_existing
from datacurate.profiling.estimates import Estimate, measure_cost
from datacurate.profiling.stages import check_measures
from datacurate.recipes import ProfileRecipe
from datacurate.training.methods import check_method
from datacurate.training.planning import (
    ExecutionPlan,
    decide_augmentation,
    plan_execution,
    training_data,
)
from datacurate.workers.local import limit_concurrency
from datacurate.workers.workspace import is_unfinished, kernel_trials, resolved_recipe

RANKS_SUFFIX = ".ranks.h5"


@dataclass(frozen=True)
class ProfilePlan:
    """What a profile will do.

    Attributes
    ----------
    requested : ProfileRecipe
        As the user asked for it.
    recipe : ProfileRecipe
        With every field decided that the request leaves to the machine or the data.
    data : DataSet
    out : Path
        ``NAME.ranks.h5``.
    execution : ExecutionPlan
    resumes : bool
        Whether it continues unfinished work.
    force : bool
        Whether it replaces what is at `out` and forgets unfinished work.
    """

    requested: ProfileRecipe
    recipe: ProfileRecipe
    data: DataSet
    out: Path
    execution: ExecutionPlan
    resumes: bool
    force: bool

    @property
    def workspace(self) -> Path:
        """Folder of the unfinished work."""
        return workspace_of(self.out)

    @property
    def concurrency(self) -> int:
        """How many runs are trained at a time."""
        return self.execution.concurrency

    @property
    def work(self) -> Mapping[str, str]:
        """What the columns depend on beside the recipe, as JSON values."""
        identity = self.data.train.identity
        return {
            "data": identity.name,
            "labels": identity.label_fingerprint,
            "pixels": identity.pixel_fingerprint,
        }

    def estimate(self) -> Estimate:
        """Return the time it takes on this machine, measured on a few real steps."""
        cost = measure_cost(self.recipe, training_data(self.data))
        return cost.estimate(self.recipe, self.concurrency)


def plan(
    recipe: ProfileRecipe,
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    tell: Notify | None = None,
) -> ProfilePlan:
    """Decide everything that a profile leaves open.

    Unfinished work at `out` has decided before; its decisions are read back.

    Parameters
    ----------
    recipe : ProfileRecipe
    data : DataSet
    out : Path
        ``NAME.ranks.h5``.
    force : bool
        Replace what is at `out`, and forget unfinished work there.
    parallel : int
        How many runs may be trained at a time.
    tell : callable, optional
        Told before a step that takes long.

    Raises
    ------
    OutputExistsError
        If `out` holds something that is not an unfinished profile.
    UnknownNameError
        For a network or a method that does not exist.
    RecipeError
        For a measure that the method does not have.
    UsageError
        If `parallel` is below one, or the requested device does not exist here.
    """
    refuse_existing(out, force=True)
    refuse_finished(out, force)
    unfinished = None if force else resolved_recipe(workspace_of(out), ProfileRecipe)
    if unfinished is not None:
        concurrency = limit_concurrency(parallel, unfinished.runs)
        trials = kernel_trials(workspace_of(out))
        execution = ExecutionPlan(unfinished.execution, concurrency, trials)
        return ProfilePlan(recipe, unfinished, data, out, execution, True, force)
    check_name(recipe.training.model)
    check_method(recipe.training)
    full = replace(check_measures(recipe), training=decide_augmentation(recipe.training, data))
    execution = plan_execution(
        recipe.execution,
        full.training,
        training_data(data),
        units=recipe.runs,
        parallel=parallel,
        tell=tell,
    )
    full = replace(full, execution=execution.execution)
    return ProfilePlan(recipe, full, data, out, execution, False, force)


def refuse_finished(out: Path, force: bool) -> None:
    """Raise if something is at `out` that no unfinished profile leads to.

    Raises
    ------
    OutputExistsError
    """
    if force or not out.exists() or is_unfinished(workspace_of(out)):
        return
    try:
        ranks = rankfile.read(out)
    except FileError as error:
        raise OutputExistsError(
            f"{out} exists already and is not a rank file",
            hint="choose another --out, or pass --force to replace it",
        ) from error
    raise OutputExistsError(
        f"{out} exists already, with {len(ranks.provenance.runs)} finished runs",
        hint=f"datacurate show {out}, or pass --force to profile anew",
    )


def workspace_of(out: Path) -> Path:
    """Return the folder of the unfinished profile of `out`: ``NAME.state``."""
    return out.with_name(out.name.removesuffix(RANKS_SUFFIX) + ".state")
