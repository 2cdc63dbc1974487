"""The order by any column, and pruning by it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from datacurate.errors import DataError, UnknownNameError, UsageError
from datacurate.formats.ordering import direction_of, rank_by
from datacurate.formats.rankfile import RankFile
from datacurate.pruning import prune
from tests.made_ranks import made_rank_file


def with_columns(**columns: Any) -> RankFile:
    made = made_rank_file()
    return dataclasses.replace(made, columns={**made.columns, **columns})


@pytest.mark.parametrize(
    ("column", "sign"), [("instability", 1), ("probability", -1), ("margin", -1)]
)
def test_runs_are_averaged(column: str, sign: int) -> None:
    ranks = made_rank_file(profiled=np.arange(5, 60))
    mean = sign * ranks.columns[column].astype(np.float64).mean(axis=1)
    order = rank_by(ranks, column).order
    assert sorted(order.tolist()) == list(range(5, 60))
    assert (np.diff(mean[order]) >= -1e-12).all()
    kept = prune(ranks, 30, by=column)
    assert kept.kept.tolist() == sorted(order[:30].tolist())
    assert kept.selection["by"] == column
    assert kept.selection["direction"] == ("high" if sign == 1 else "low")


@pytest.mark.parametrize("column", ["forgetting", "first_learned"])
def test_never_learned_comes_last(column: str) -> None:
    ranks = made_rank_file()
    values = ranks.columns[column]
    never = values == -1
    assert never.any()
    assert ((values == 0) & ~never).any()
    worst = np.where(never, 99, values)
    mean = sum(stats.rankdata(worst[:, run], method="min") for run in range(2))
    order = rank_by(ranks, column).order
    assert (np.diff(mean[order]) >= 0).all()
    in_every_run = never.all(axis=1)
    assert set(order[-in_every_run.sum() :].tolist()) == set(np.flatnonzero(in_every_run))


def test_the_other_end_on_demand() -> None:
    ranks = made_rank_file()
    there = rank_by(ranks, "instability").score
    back = rank_by(ranks, "instability", "low").score
    assert np.array_equal(there, -back)
    assert prune(ranks, 9, by="instability", direction="low").selection["direction"] == "low"


def test_the_rank_itself_is_the_default() -> None:
    ranks = made_rank_file()
    assert np.array_equal(prune(ranks, 30).kept, prune(ranks, 30, by="problematic_rank").kept)
    assert rank_by(ranks, "problematic_rank").order.tolist() == ranks.ranking().order.tolist()


def test_a_column_nobody_knows_needs_a_direction() -> None:
    beauty = np.random.default_rng(0).random(60)
    ranks = with_columns(beauty=beauty)
    with pytest.raises(UsageError, match="it is not known which end of beauty"):
        prune(ranks, 10, by="beauty")
    kept = prune(ranks, 10, by="beauty", direction="low").kept
    assert set(kept.tolist()) == set(np.argsort(-beauty)[:10].tolist())
    stated = dataclasses.replace(
        ranks.provenance, source={"column": "beauty", "problematic": "high"}
    )
    assert direction_of(dataclasses.replace(ranks, provenance=stated), "beauty") == "high"


def test_what_is_no_score() -> None:
    ranks = made_rank_file()
    for column in ("correct", "position", "label", "nonsense"):
        with pytest.raises(UnknownNameError, match="no column of scores"):
            prune(ranks, 10, by=column)
    with pytest.raises(UnknownNameError, match="no direction"):
        prune(ranks, 10, by="margin", direction="up")  # type: ignore[arg-type]
    hole = ranks.columns["margin"].copy()
    hole[3] = np.nan
    with pytest.raises(DataError, match="not a number"):
        prune(with_columns(margin=hole), 10, by="margin")
