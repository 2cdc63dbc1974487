"""The result of a verification or a sweep on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datacurate.cli import console

if TYPE_CHECKING:
    from datacurate.verification import Verification, VerificationPlan


def print_sweep(table: Mapping[str, Any], out: Path, as_json: bool) -> None:
    """Print the verdicts of a sweep, or its table as JSON."""
    if as_json:
        console.print_json(table)
        return
    for point in table["points"]:
        for comparison in point["comparisons"]:
            console.say_out(
                f"{table['key']}={point['value']}: "
                f"{comparison['judged']} against {comparison['against']}: "
                f"{comparison['word']}: {comparison['reason']}"
            )
    console.say_out(f"table: {out}, {out.with_suffix('.csv')}; a record of each value beside it")


def print_verification(verification: Verification) -> None:
    """Print the table and the verdicts of a verification."""
    from rich.table import Table

    from datacurate.recipes import recipe_hash
    from datacurate.verification import table

    headings, rows = table.table(verification)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in ("arm", "at") else "right")
    for row in rows:
        shown.add_row(*row)
    console.print_table(shown)
    recipe = verification.recipe
    console.say_out(
        f"{table.statement(verification)}; recipe {recipe.name} ({recipe_hash(recipe)}), "
        f"{verification.hardware['processor']}"
    )
    for comparison in verification.comparisons:
        console.say_out(table.verdict_line(verification, comparison))
    for line in table.remarks(verification):
        console.note(line)
    for line in table.warnings(verification):
        console.warn(line)


def effect_line(plan: VerificationPlan) -> str:
    """Return the line that states which difference a verification can detect."""
    from datacurate.verification import correction, pairs

    effect = plan.detectable_effect()
    if effect is None:
        return "one seed detects no difference whatever its size: for a verdict, --set seeds=3"
    if effect > 100:
        return (
            "with so few seeds and examples no difference can be detected: "
            "--set seeds=5 --set examples=1000"
        )
    line = (
        f"with {plan.recipe.seeds} seeds and {plan.examples:,} test examples a difference of "
        f"{effect:.1f} points is detected in 80% of repetitions"
    )
    comparisons = len(pairs(plan.recipe))
    return line if comparisons < 2 else f"{line} ({correction(comparisons)})"
