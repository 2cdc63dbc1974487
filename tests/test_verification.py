"""Verification: arms that are what they say, one record whether interrupted or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate import verification
from datacurate.data import DataSet, load
from datacurate.errors import OutputExistsError, StateError, UsageError
from datacurate.recipes import VERIFY_RECIPES, VerifyRecipe, with_settings
from datacurate.verification import (
    KEPT,
    GivenRows,
    Progress,
    Verification,
    arms_of,
    held_out_rows,
    verify,
    with_own_arms,
)

Rows = np.ndarray[Any, np.dtype[np.int64]]

RECIPE: VerifyRecipe = with_settings(
    VERIFY_RECIPES["smoke"],
    ["width=4", "seeds=2", "examples=12", "execution.dtype=float32", "epochs=3"],
)


def of_kept(rows: Rows) -> dict[str, GivenRows]:
    """Return rows as those of the arm of kept examples."""
    return {KEPT: GivenRows(rows, {"file": "idx.npy"})}


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load("digits")


@pytest.fixture(scope="module")
def kept(digits: DataSet) -> Rows:
    chance = np.random.default_rng(4)
    return np.sort(chance.permutation(len(digits.train))[:300])


@pytest.fixture(scope="module")
def found(
    digits: DataSet,
    kept: Rows,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Verification]:
    out = tmp_path_factory.mktemp("verify") / "verify.json"
    return out, verify(RECIPE, digits, of_kept(kept), out)


def test_held_out_rows_are_balanced_fixed_images(digits: DataSet) -> None:
    rows = held_out_rows(digits, 0.02)
    each = np.bincount(digits.train.labels[rows])
    assert set(each) == {round(0.02 * len(digits.train) / 10)}
    # In another order the same images are drawn.
    order = np.random.default_rng(0).permutation(len(digits.train))
    identity = digits.train.identity
    assert identity.content_hash is not None
    moved = replace(
        digits,
        train=replace(
            digits.train,
            labels=digits.train.labels[order],
            identity=replace(identity, content_hash=identity.content_hash[order]),
        ),
    )
    again = held_out_rows(moved, 0.02)
    assert set(identity.content_hash[rows]) == set(identity.content_hash[order][again])


def test_held_out_never_empties_a_class(digits: DataSet) -> None:
    few = np.flatnonzero(digits.train.labels == 3)[1:]
    with pytest.raises(UsageError, match="class '3' is too small to hold out"):
        held_out_rows(replace(digits, borrowed=few), 0.02)


def test_arms_are_what_they_say(digits: DataSet, kept: Rows) -> None:
    labels = digits.train.labels
    available = np.setdiff1d(np.arange(len(labels)), held_out_rows(digits, 0.02))
    here = np.intersect1d(kept, available)
    recipe = replace(RECIPE, arms=("all", "kept", "random", "class-matched", "mine"))
    mine = np.arange(0, 1437, 3)
    arms = arms_of(recipe, digits, {**of_kept(kept), "mine": GivenRows(mine)})
    assert np.array_equal(arms.rows("all", 0), available)
    assert np.array_equal(arms.rows("kept", 0), here)
    assert np.array_equal(arms.rows("mine", 0), np.intersect1d(mine, available))
    for arm in ("random", "class-matched"):
        drawn = arms.rows(arm, 0)
        assert len(np.unique(drawn)) == len(drawn) == len(here)
        assert np.isin(drawn, available).all()
        assert np.array_equal(drawn, arms.rows(arm, 0))
        assert not np.array_equal(drawn, arms.rows(arm, 1))
    matched = arms.rows("class-matched", 0)
    assert np.array_equal(np.bincount(labels[matched]), np.bincount(labels[here]))
    # A random arm is no more like the kept one than chance has it.
    expected = len(here) ** 2 / len(available)
    assert abs(len(np.intersect1d(arms.rows("random", 0), here)) - expected) < 5 * expected**0.5
    for arm in recipe.arms:
        assert len(arms.rows(arm, 0)) == arms.size(arm)


def test_own_arms_join_the_recipe_or_stand_alone() -> None:
    assert with_own_arms(RECIPE, ["kept"]).arms == ("all", "kept", "random")
    assert with_own_arms(RECIPE, ["kept", "a"]).arms == ("all", "kept", "random", "a")
    assert with_own_arms(RECIPE, ["a", "b"]).arms == ("a", "b")
    named = replace(RECIPE, arms=("b", "all", "a"))
    assert with_own_arms(named, ["a", "b"]).arms == ("b", "all", "a")


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"arms": ("all", "kept", "all")}, "kept", "each arm once"),
        ({"arms": ("all", "random")}, "a", "need an index file of what was kept"),
        ({"arms": ("all", "fiendly")}, "friendly", "did you mean 'friendly'"),
        ({"arms": ("all", "a")}, "a b", "'b' was given, but is not among the arms"),
        ({"arms": ("all", "random")}, "random kept", "'random' cannot be the name of an arm"),
        ({"arms": ("all", "../a")}, "../a", "'../a' cannot be the name of an arm"),
        ({"compare": ("kept",)}, "kept", "what to compare with what"),
        ({"compare": ("kept:kept",)}, "kept", "what to compare with what"),
        ({"compare": ("kept:al",)}, "kept", "did you mean 'all'"),
        ({"compare": ("kept:all", "all:kept")}, "kept", "compared twice"),
    ],
)
def test_arms_that_do_not_hold(
    digits: DataSet, kept: Rows, changes: dict[str, Any], given: str, said: str
) -> None:
    rows = {name: GivenRows(kept) for name in given.split()}
    with pytest.raises(UsageError, match=said):
        arms_of(replace(RECIPE, **changes), digits, rows)


def test_equal_sizes_are_those_trained_on(digits: DataSet, kept: Rows) -> None:
    held_out = held_out_rows(digits, RECIPE.held_out)
    among = np.setdiff1d(np.arange(1437), held_out)
    whole, pierced = among[:300], np.union1d(among[:299], held_out[:1])
    halves = {"a": GivenRows(whole), "b": GivenRows(pierced)}
    recipe = replace(RECIPE, arms=("all", "a", "b"), equal_sizes=True)
    with pytest.raises(UsageError, match="not trained on equally many") as refused:
        arms_of(recipe, digits, halves)
    assert refused.value.got == "a 300, b 299"
    assert arms_of(replace(recipe, select="test"), digits, halves).size("b") == 300
    drawn = replace(RECIPE, arms=("kept", "random", "class-matched"), equal_sizes=True)
    arms = arms_of(drawn, digits, of_kept(pierced))
    assert {len(arms.rows(arm, 3)) for arm in drawn.arms} == {299}


def test_the_record_follows_from_its_members(found: tuple[Path, Verification]) -> None:
    out, result = found
    record = json.loads(out.read_text())
    assert record == json.loads(json.dumps(result.as_dict()))
    assert [(m.arm, m.seed) for m in result.members] == [
        (arm, seed) for seed in (0, 1) for arm in ("all", "kept", "random")
    ]
    pairs = [(c.judged, c.against) for c in result.comparisons]
    assert pairs == [("kept", "all"), ("kept", "random")]
    for comparison in result.comparisons:
        gains = [
            100 * (k.best.outcome.robust.mean() - o.best.outcome.robust.mean())
            for k, o in zip(
                result.of(comparison.judged), result.of(comparison.against), strict=True
            )
        ]
        assert comparison.verdict.mean == pytest.approx(np.mean(gains))
        assert comparison.verdict.seeds == 2
    sizes = {m.arm: m.size for m in result.members}
    assert sizes["kept"] == sizes["random"] == record["arms"]["kept"]["trained_on"]
    assert sizes["all"] == 1437 - record["data"]["held_out"]
    assert (
        record["arms"]["kept"]["given"] == 300
    )  # what was asked for; held-out rows left every arm
    attacked = {len(e) for m in result.members for e in (m.best, m.last)}
    assert attacked == {12}
    assert list(out.parent.iterdir()) == [out]


def test_robust_is_never_above_clean_or_pgd(found: tuple[Path, Verification]) -> None:
    for member in found[1].members:
        for evaluation in (member.best, member.last):
            assert not (evaluation.outcome.robust & ~evaluation.outcome.clean_correct).any()
            assert evaluation.robust.correct <= evaluation.clean.correct


class Stop(Exception):
    """Raised to end a verification in the middle."""


@pytest.mark.parametrize("moment", ["training", "attack"])
def test_interrupted_it_ends_in_the_same_record(
    digits: DataSet,
    kept: Rows,
    found: tuple[Path, Verification],
    tmp_path: Path,
    moment: str,
) -> None:
    out = tmp_path / "verify.json"

    def stop(progress: Progress) -> None:
        training = progress.epoch is not None and progress.epoch.epoch == 2
        in_attack = "apgd-t" in progress.attack
        if progress.member == 3 and (training if moment == "training" else in_attack):
            raise Stop

    with pytest.raises(Stop):
        verify(RECIPE, digits, of_kept(kept), out, on_progress=stop)
    assert verification.is_unfinished(out)
    assert not out.exists()
    verify(RECIPE, digits, of_kept(kept), out)
    assert timeless(json.loads(out.read_text())) == timeless(json.loads(found[0].read_text()))


def timeless(record: Any) -> Any:
    """Return a record without its times."""
    if isinstance(record, dict):
        return {k: timeless(v) for k, v in record.items() if k not in ("seconds", "created")}
    return [timeless(v) for v in record] if isinstance(record, list) else record


def test_other_work_is_refused(digits: DataSet, kept: Rows, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        verify(RECIPE, digits, of_kept(kept), out, on_progress=stop)
    with pytest.raises(StateError, match="unfinished work of another recipe or other data"):
        verify(RECIPE, digits, of_kept(kept[:-1]), out)


def test_bad_input(digits: DataSet, kept: Rows, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"
    without = kept[digits.train.labels[kept] != 7]
    with pytest.raises(UsageError, match="1 classes have no kept example"):
        verify(RECIPE, digits, of_kept(without), out)
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        verify(RECIPE, digits, of_kept(kept), out)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]
