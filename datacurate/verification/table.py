"""A verification in words: its table, its verdicts and what they rest on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from datacurate.attacks.suites import is_upper_bound
from datacurate.recipes import VerifyRecipe, recipe_hash
from datacurate.verification.comparing import Comparison, correction
from datacurate.verification.record import selection_in_words
from datacurate.verification.results import Verification
from datacurate.verification.summary import ArmSummary, Spread, summarize_arms


def table(verification: Verification) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows: for each arm its best checkpoints and its last ones."""
    title = suite_title(verification.recipe)
    headings = ["arm", "examples", "at", "clean", "PGD-10", title]
    headings += ["overestimated", "overfitted"]
    if verification.standard:
        headings.append("clean lost")
    headings.append("minutes")
    rows = []
    for arm in summarize_arms(verification):
        rows += _rows(arm, bool(verification.standard))
    return headings, rows


def suite_title(recipe: VerifyRecipe) -> str:
    """Return the heading of the accuracy under the suite, with "upper bound" if it is one."""
    return f"{recipe.suite} (upper bound)" if is_upper_bound(recipe.suite) else "AutoAttack"


def statement(verification: Verification) -> str:
    """Return one line that explains the figures of the table."""
    recipe, outcome = verification.recipe, verification.networks[0].best.outcome
    text = (
        f"% of {len(verification.networks[0].best):,} test examples correct at radius "
        f"{recipe.radius:g}/255, "
        f"mean±deviation over {recipe.seeds} seed{'s' * (recipe.seeds > 1)}; {outcome.label} by "
        f"{outcome.implementation}; overestimated: PGD-10 minus that, "
        f"overfitted: best minus last; best checkpoint chosen on {selection_in_words(recipe)}"
    )
    if is_upper_bound(recipe.suite):
        text += (
            "; the true robust accuracy is at most this, and a stronger attack may change a verdict"
        )
    return text


def verdict_line(verification: Verification, comparison: Comparison) -> str:
    """Return a verdict with its reason, in a line."""
    bound = (
        ", by an upper bound of robust accuracy"
        if is_upper_bound(verification.recipe.suite)
        else ""
    )
    return (
        f"{comparison.judged} against {comparison.against}: {comparison.verdict.word}{bound}: "
        f"{comparison.verdict.reason}"
    )


def remarks(verification: Verification) -> list[str]:
    """Return the remarks that belong to the verdicts."""
    lines = []
    if len(verification.comparisons) > 1:
        lines.append(f"correction: {correction(len(verification.comparisons))}")
    if verification.recipe.select == "test":
        lines.append("the best checkpoints were chosen on the test examples, and depend on them")
    return lines


def warnings(verification: Verification) -> list[str]:
    """Return a line for every network whose robust accuracy may be too high."""
    return [line for arm in summarize_arms(verification) for line in arm.warnings]


def as_markdown(verification: Verification) -> str:
    """Return a verification as a Markdown document."""
    headings, rows = table(verification)
    numbers = ["---" if heading in ("arm", "at") else "---:" for heading in headings]
    lines = [
        f"# Verification on {verification.data['name']}",
        "",
        *_grid([headings, numbers, *rows]),
    ]
    lines += ["", f"{statement(verification)}.", "", "## Verdicts", ""]
    for comparison in verification.comparisons:
        p = ", ".join(f"{pair.p:.2g}" for pair in comparison.within)
        lines.append(
            f"- {verdict_line(verification, comparison)}. McNemar's p within each pair: {p}."
        )
    lines += [f"- {line}." for line in remarks(verification)]
    if not verification.comparisons:
        lines.append("- None: there is one arm.")
    if verification.expected_detectable is not None and verification.expected_detectable < 100:
        lines.append(
            f"- Expected before the run: a difference of "
            f"{verification.expected_detectable:.1f} points is found in 80% of repetitions."
        )
    if messages := warnings(verification):
        lines += ["", "## Warnings", "", *(f"- {line}" for line in messages)]
    lines += ["", "## Arms", ""]
    lines += [f"- {name}: {_origin(about)}" for name, about in verification.arms.items()]
    lines += ["", "## To repeat it", "", *_repetition(verification)]
    return "\n".join(lines) + "\n"


def _rows(arm: ArmSummary, with_standard: bool) -> list[list[str]]:
    rows = []
    for which, accuracy in (("best", arm.best), ("last", arm.last)):
        best = which == "best"
        row = [arm.arm if best else "", f"{arm.examples:,}" if best else "", which]
        row += [str(accuracy.clean), str(accuracy.pgd10), str(accuracy.robust)]
        row += [str(accuracy.overestimation_gap), str(arm.robust_overfitting_gap) if best else ""]
        if with_standard:
            row.append(_or_nothing(accuracy.cross_generalization_gap))
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


def _repetition(verification: Verification) -> list[str]:
    recipe, hardware, data = verification.recipe, verification.hardware, verification.data
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
    if verification.command:
        lines.append(f"- `{shlex.join(verification.command)}`")
    return lines
