from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from datacurate.errors import DataError, UsageError
from datacurate.identity import Match, Relation
from datacurate.pruning import NOT_COMPARED, describe_ranks, gutted_classes, prune
from tests.made_ranks import made_rank_file


def test_prune_states_what_it_did() -> None:
    ranks = made_rank_file(profiled=np.arange(6, 60))
    index = prune(ranks, 30, name="a.ranks.h5")
    assert index.kept.tolist() == sorted(ranks.ranking().order[:30].tolist())
    assert index.source["file"] == "a.ranks.h5"
    assert index.source["recipe"] == "smoke"
    assert index.source["runs"] == 2
    assert index.data_check == NOT_COMPARED
    assert index.selection["seed"] is None
    assert [row["before"] for row in index.classes] == [18, 18, 18]
    assert sum(row["after"] for row in index.classes) == 30
    assert "recipe smoke" in describe_ranks(ranks)


def test_a_reencoded_copy_is_said() -> None:
    match = Match(Relation.REENCODED, "for reasons")
    index = prune(made_rank_file(), 30, strategy="random", seed=3, match=match)
    assert index.warnings[0] == "a re-encoded copy: the same pictures, other pixels (for reasons)"
    assert index.data_check.startswith("a re-encoded copy")
    assert index.selection["seed"] == 3


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ([100, 100, 100], [80, 80, 80], []),
        ([100, 100, 100], [90, 90, 60], [2]),  # 40 % against 20 %
        ([100, 100, 100], [95, 95, 68], []),  # less than a third
        ([100, 100, 100], [50, 50, 50], []),  # everybody alike
        ([100, 100, 100], [20, 20, 10], [2]),  # kept 10 % against 17 %
        ([100, 0, 100], [100, 0, 0], [2]),
        ([1000, 1000], [200, 180], []),
    ],
)
def test_classes_hurt_out_of_proportion(
    before: list[int], after: list[int], warned: list[int]
) -> None:
    classes = tuple(
        {"name": f"c{i}", "before": b, "after": a}
        for i, (b, a) in enumerate(zip(before, after, strict=True))
    )
    lines = gutted_classes(classes)
    assert [line.split()[0] for line in lines] == [f"c{i}" for i in warned]


def test_what_cannot_be_pruned() -> None:
    ranks = made_rank_file(profiled=np.arange(30))
    with pytest.raises(UsageError, match="31 examples cannot be kept"):
        prune(ranks, 31)
    score = ranks.columns["problematic_rank"].copy()
    score[3] = np.nan
    broken = dataclasses.replace(ranks, columns={**ranks.columns, "problematic_rank": score})
    with pytest.raises(DataError, match="not a number"):
        prune(broken, 10)
