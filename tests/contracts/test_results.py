"""The records in docs/results hold, and the page about them says what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from datacurate.ranks.statistics import simultaneous_level
from datacurate.recipes import VerifyRecipe, from_dict
from datacurate.verification import read_record
from datacurate.verification.comparing import compare_arms
from datacurate.verification.record import broken_by, seeds_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDS = sorted((DOCS / "results").glob("*.json"))
PAGE = (DOCS / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_page_says_what_the_record_holds(path: Path) -> None:
    record = read_record(path)
    assert f"(results/{path.name})" in PAGE
    assert f"(results/{path.with_suffix('.md').name})" in PAGE
    assert record["recipe_hash"] in PAGE
    for found in record["comparisons"]:
        row = " | ".join(
            [
                f"{found['judged']} − {found['against']}",
                f"{found['mean']:+.2f}",
                f"{found['low']:+.2f} to {found['high']:+.2f}",
                f"{found['detectable']:.1f}",
                f"**{found['word']}**",
            ]
        )
        assert f"| {row} |" in PAGE, row
    for arm in record["summary"]:
        best = arm["best"]
        row = " | ".join(
            [
                arm["arm"],
                f"{arm['examples']:,}",
                *(spread(best[name]) for name in ("clean", "pgd10", "robust")),
                spread(best["overestimation_gap"]),
                spread(arm["robust_overfitting_gap"]),
            ]
        )
        assert f"| {row} |" in PAGE, row


def spread(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.2f}±{value['sd']:.2f}"


def test_the_other_way_round_better_is_worse() -> None:
    record = read_record(DOCS / "results" / "halves-fast.json")
    recipe = from_dict(VerifyRecipe, record["recipe"])
    robust: dict[tuple[str, int], Any] = {
        (member["arm"], member["seed"]): broken_by(member["best"]) == -1
        for member in record["members"]
    }
    pairs = [("problematic", "friendly"), ("random1", "random0")]
    assert simultaneous_level(len(pairs)) == simultaneous_level(len(record["comparisons"]))
    turned = compare_arms(robust, pairs, seeds_of(recipe))
    assert [found.verdict.word for found in turned] == ["worse", "no detectable difference"]
