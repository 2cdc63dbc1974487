from __future__ import annotations

import re
from pathlib import Path

import pytest

from datacurate.attacks.reference import reference_attacks
from datacurate.attacks.suites import SUITES, is_upper_bound
from datacurate.attacks.table import ATTACKS, needs_gradients, needs_surrogate
from datacurate.errors import UnknownNameError
from datacurate.recipes import VERIFY_RECIPES


def test_suites_and_recipes_name_only_what_the_tables_have() -> None:
    assert {attack for suite in SUITES.values() for attack in suite.attacks} == set(ATTACKS)
    for suite in SUITES.values():
        assert set(suite.steps) <= set(suite.attacks)
    assert {recipe.suite for recipe in VERIFY_RECIPES.values()} <= set(SUITES)
    assert set(reference_attacks()) == set(SUITES["standard"].attacks)


def test_what_suites_need_and_mean() -> None:
    assert [name for name in SUITES if not is_upper_bound(name)] == ["standard", "custom"]
    assert [name for name in SUITES if needs_surrogate(name)] == ["transfer"]
    without = [name for name in SUITES if not needs_gradients(name)]
    assert without == ["square", "rays", "transfer"]
    assert is_upper_bound("a suite of another version")
    with pytest.raises(UnknownNameError, match="standrad"):
        needs_surrogate("standrad")


def test_the_page_lists_every_suite_in_the_order_of_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    table = page.split("| suite |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert re.findall(r"`([^`]+)`", "".join(first_cells)) == list(SUITES)
