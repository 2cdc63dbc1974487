"""A verification for people: its table, its verdicts and what they rest on, in words."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from datacurate.attacks.suites import is_upper_bound
from datacurate.recipes import VerifyRecipe, recipe_hash
from datacurate.verification.comparing import Comparison, correction
from datacurate.verification.record import selection_in_words
from datacurate.verification.results import Verification
from datacurate.verification.summary import ArmSummary, Spread, summaries


def table(found: Verification) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows, two of each arm: at the best checkpoints and at the last."""
    title = suite_title(found.recipe)
    headings = ["arm", "examples", "at", "clean", "PGD-10", title]
    headings += ["overestimated", "overfitted"]
    if found.standard:
        headings.append("clean lost")
    headings.append("minutes")
    rows = []
    for arm in summaries(found):
        rows += _rows(arm, bool(found.standard))
    return headings, rows


def suite_title(recipe: VerifyRecipe) -> str:
    """Return what accuracy under the recipe's suite is called; an upper bound says so."""
    return f"{recipe.suite} (upper bound)" if is_upper_bound(recipe.suite) else "AutoAttack"


def statement(found: Verification) -> str:
    """Return what the table's figures are, in a line."""
    recipe, outcome = found.recipe, found.members[0].best.outcome
    text = (
        f"% of {len(found.members[0].best):,} test examples right at radius {recipe.radius:g}/255, "
        f"mean±deviation over {recipe.seeds} seed{'s' * (recipe.seeds > 1)}; {outcome.label} by "
        f"{outcome.implementation}; overestimated is PGD-10 less that, "
        f"overfitted best less last; best checkpoint chosen on {selection_in_words(recipe)}"
    )
    if is_upper_bound(recipe.suite):
        text += "; true robust accuracy is at most this: a stronger attack may turn a verdict"
    return text


def verdict_line(found: Verification, comparison: Comparison) -> str:
    """Return a verdict with its reason, in a line."""
    bound = ", by an upper bound of robust accuracy" if is_upper_bound(found.recipe.suite) else ""
    return (
        f"{comparison.judged} against {comparison.against}: {comparison.verdict.word}{bound}: "
        f"{comparison.verdict.reason}"
    )


def remarks(found: Verification) -> list[str]:
    """Return what a reader of the verdicts must be told besides."""
    lines = []
    if len(found.comparisons) > 1:
        lines.append(f"correction: {correction(len(found.comparisons))}")
    if found.recipe.select == "test":
        lines.append("the best checkpoints were chosen on the test examples: they have seen them")
    return lines


def warnings(found: Verification) -> list[str]:
    """Return a line for every member whose robust accuracy may be too high."""
    return [line for arm in summaries(found) for line in arm.warnings]


def as_markdown(found: Verification) -> str:
    """Return a verification as a document."""
    headings, rows = table(found)
    numbers = ["---" if heading in ("arm", "at") else "---:" for heading in headings]
    lines = [f"# Verification on {found.data['name']}", "", *_grid([headings, numbers, *rows])]
    lines += ["", f"{statement(found)}.", "", "## Verdicts", ""]
    for comparison in found.comparisons:
        p = ", ".join(f"{pair.p:.2g}" for pair in comparison.within)
        lines.append(f"- {verdict_line(found, comparison)}. McNemar's p within each pair: {p}.")
    lines += [f"- {line}." for line in remarks(found)]
    if not found.comparisons:
        lines.append("- None: there is one arm.")
    if found.expected_detectable is not None and found.expected_detectable < 100:
        lines.append(
            f"- Expected before the run: a difference of {found.expected_detectable:.1f} points "
            "is seen in 80% of repetitions."
        )
    if said := warnings(found):
        lines += ["", "## Warnings", "", *(f"- {line}" for line in said)]
    lines += ["", "## Arms", ""]
    lines += [f"- {name}: {_origin(about)}" for name, about in found.arms.items()]
    lines += ["", "## To repeat it", "", *_repetition(found)]
    return "\n".join(lines) + "\n"


def _rows(arm: ArmSummary, with_standard: bool) -> list[list[str]]:
    rows = []
    for which, reached in (("best", arm.best), ("last", arm.last)):
        best = which == "best"
        row = [arm.arm if best else "", f"{arm.examples:,}" if best else "", which]
        row += [str(reached.clean), str(reached.pgd10), str(reached.robust)]
        row += [str(reached.overestimation_gap), str(arm.robust_overfitting_gap) if best else ""]
        if with_standard:
            row.append(_or_nothing(reached.cross_generalization_gap))
        rows.append([*row, f"{arm.minutes:.1f}" if best else ""])
    return rows


def _or_nothing(spread: Spread | None) -> str:
    return "" if spread is None else str(spread)


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]


def _origin(about: Any) -> str:
    text = f"{about['trained_on']:,} examples"
    if "given" not in about:
        return text
    text += f" of {about['given']:,} given"
    if "file" in about:
        text += f" by {about['file']}"
    return text + f" (sha256 of the rows {about['given_rows_sha256'][:16]}…)"


def _repetition(found: Verification) -> list[str]:
    recipe, hardware, data = found.recipe, found.hardware, found.data
    last = recipe.seed + recipe.seeds - 1
    lines = [
        f"- recipe {recipe.name} ({recipe_hash(recipe)}): {recipe.summary}; all of it is in the "
        "record",
        f"- seeds {recipe.seed} to {last}",
        f"- data: {data['train']:,} training examples of {data['name']}, labels "
        f"{data['labels'][:16]}…, pixels {data['pixels'][:16]}…; {data['held_out']:,} held out",
        f"- {hardware['processor']}, {hardware['device']}, torch {hardware.get('torch', '?')}, "
        f"datacurate {hardware.get('datacurate', '?')}, {hardware['created']}",
    ]
    if "surrogate" in data:
        about = data["surrogate"]
        lines.append(f"- surrogate {about['file']} (sha256 {about['sha256'][:16]}…)")
    if found.command:
        lines.append(f"- `{shlex.join(found.command)}`")
    return lines
