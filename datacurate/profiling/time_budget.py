"""A profile that fits into a given time: the number of runs and epochs from a budget."""

from __future__ import annotations

from dataclasses import replace

from datacurate.profiling.estimates import fit_into_time, measure_cost
from datacurate.profiling.plan import ProfilePlan
from datacurate.profiling.stages import check_measures
from datacurate.recipes import ProfileRecipe, differences, with_settings
from datacurate.training.kernels import LONG, count_steps
from datacurate.training.planning import plan_execution, training_data
from datacurate.workers.local import limit_concurrency
from datacurate.workers.workspace import requested_recipe


def within_budget(plan: ProfilePlan, seconds: float, parallel: int = 1) -> ProfilePlan:
    """Return a plan with as many runs and epochs as fit into a time on this machine.

    If the plan resumes unfinished work that differs only in runs and epochs, their numbers are
    kept: the budget was for the whole work, and a new timing would give other numbers. The kernels
    are not tried again.

    Parameters
    ----------
    plan : ProfilePlan
        Its epochs are the maximum.
    seconds : float
        For the whole profile; a tenth of it is reserve.
    parallel : int
        How many runs may be trained at a time.

    Raises
    ------
    UsageError
        If the time is too short for `datacurate.profiling.estimates.FEWEST_EPOCHS`.
    """
    if plan.resumes:
        return _keep_numbers(plan)
    data = training_data(plan.data)
    chosen = fit_into_time(plan.recipe, seconds, measure_cost(plan.recipe, data), parallel)
    requested = with_settings(
        plan.requested, [f"runs={chosen.runs}", f"training.epochs={chosen.training.epochs}"]
    )
    execution = replace(plan.execution, concurrency=limit_concurrency(parallel, chosen.runs))
    if count_steps(chosen.training, data, chosen.runs) < LONG:
        # Trainings this short run with eager kernels, which need no trial.
        execution = plan_execution(
            requested.execution, chosen.training, data, units=chosen.runs, parallel=parallel
        )
    recipe = replace(
        check_measures(requested), training=chosen.training, execution=execution.execution
    )
    return replace(plan, requested=requested, recipe=recipe, execution=execution)


def _keep_numbers(plan: ProfilePlan) -> ProfilePlan:
    """Return the plan with the runs and epochs that the unfinished work asked for."""
    before = requested_recipe(plan.workspace, ProfileRecipe)
    if before is None:
        return plan
    training = replace(plan.requested.training, epochs=before.training.epochs)
    again = replace(plan.requested, runs=before.runs, training=training)
    return plan if differences(before, again) else replace(plan, requested=before)
