"""Programs that know nothing of datacurate read a rank file: datasets, pandas, h5py."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from tests.made_ranks import made_rank_file


@pytest.fixture
def made(tmp_path: Path) -> RankFile:
    ranks = made_rank_file(profiled=np.arange(5, 60))
    rankfile.write(tmp_path / "made.ranks.h5", ranks)
    return ranks


def test_datasets(tmp_path: Path, made: RankFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", minversion="4.2")
    table = datasets.load_dataset(
        "hdf5",
        data_files=str(tmp_path / "made.ranks.h5"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    columns = rankfile.file_columns(made)
    assert set(table.column_names) == set(columns)
    read = table[:]
    for name, values in columns.items():
        assert np.array_equal(
            np.array(read[name], dtype=values.dtype), values, equal_nan=values.dtype.kind == "f"
        ), name


def test_pandas(made: RankFile) -> None:
    pandas = pytest.importorskip("pandas")
    table = made.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == 60
    assert int(table["problematic_rank"].isna().sum()) == 5
    friendliest = table[table.position >= 0].sort_values("position").index[:10]
    assert friendliest.tolist() == made.ranking().order[:10].tolist()
    for run in range(2):
        mine = made.columns["margin"][:, run]
        assert np.array_equal(table[f"margin.{run}"], mine, equal_nan=True)


def test_h5py(tmp_path: Path, made: RankFile) -> None:
    with h5py.File(tmp_path / "made.ranks.h5") as file:
        for name, values in rankfile.file_columns(made).items():
            floating = values.dtype.kind == "f"
            assert np.array_equal(file[name][:], values, equal_nan=floating), name
        assert json.loads(file.attrs["dataset"])["examples"] == 60
