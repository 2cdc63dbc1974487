"""What a plan says before it runs: recipe, place, kernels, estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datacurate.cli import console

if TYPE_CHECKING:
    from datacurate.recipes import ProfileRecipe, VerifyRecipe
    from datacurate.training.planning import ExecutionPlan


def announce_recipe(
    recipe: ProfileRecipe | VerifyRecipe, execution: ExecutionPlan, details: str
) -> None:
    """Print recipe, details and place of a plan, and warn about refused kernels and crowding."""
    from datacurate.recipes import recipe_hash

    for note in execution.notes:
        console.warn(note)
    console.note(
        f"recipe: {recipe.name} ({recipe_hash(recipe)}): {recipe.summary}; {details} "
        f"{_place(execution)}"
    )
    _warn_if_oversubscribed(execution)


def estimate_line(total: float, parts: dict[str, float], concurrency: int = 1) -> str:
    """Return the line that states the estimated time: in total, and of each part."""
    from datacurate.cli.progress import duration

    shown = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts.items() if seconds)
    line = f"Estimated time: {duration(total)} ({shown})"
    if concurrency > 1:
        line += f", with {concurrency} trainings at a time that do not slow each other down"
    return line


def _place(execution: ExecutionPlan) -> str:
    """Return device, data type, kernels, threads and concurrency."""
    where = execution.execution
    text = f"{where.device}, {where.dtype}, {where.kernels}, "
    text += f"{where.threads} thread{'s' * (where.threads > 1)}"
    return text if execution.concurrency == 1 else f"{text}, {execution.concurrency} at a time"


def _warn_if_oversubscribed(execution: ExecutionPlan) -> None:
    from datacurate.machine import cores

    threads = execution.execution.threads
    if execution.execution.device == "cpu" and execution.concurrency * threads > cores():
        console.warn(
            f"{execution.concurrency} trainings at a time with {threads} threads each share "
            f"{cores()} cores: fewer at a time may be faster"
        )
