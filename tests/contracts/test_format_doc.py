"""`docs/format.md` against what is written: a reader made from the document must agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datacurate.formats import indexfile, rankfile
from datacurate.formats.columns import KNOWN_COLUMNS, Column
from datacurate.pruning import prune
from tests.made_ranks import made_rank_file

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def rows_of_table(heading: str) -> dict[str, list[str]]:
    """Return the cells of the table under a heading, by the first word of each row."""
    section = DOCUMENT.split(heading, 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line[:2] == "| "]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    found = {}
    for row in rows[1:]:
        for name in re.findall(r"`([^`]+)`", row[0]):
            found[name] = row
    return found


def test_every_column_is_described_as_it_is() -> None:
    table = rows_of_table("### Columns")
    assert set(table) == set(KNOWN_COLUMNS)
    for name, column in KNOWN_COLUMNS.items():
        cells = table[name]
        assert cells[1] == column.dtype
        axes = ", ".join(column.axes)
        assert cells[2] == (f"({axes},)" if len(column.axes) == 1 else f"({axes})")
        assert cells[4] == ("" if column.problematic == "neither" else column.problematic)
        assert cells[5] == missing_as_text(column)


def missing_as_text(column: Column) -> str:
    if column.name in ("label", "content_hash", "perceptual_hash"):
        return "as others"
    return "NaN" if np.isnan(column.missing) else f"{column.missing:g}".replace("-", "−")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "made.ranks.h5"
    rankfile.write(path, made_rank_file(profiled=np.arange(5, 60)))
    return path


def test_every_attribute_is_described(written: Path) -> None:
    with h5py.File(written) as file:
        assert set(rows_of_table("### Attributes")) >= set(file.attrs)


def test_every_key_of_the_sidecar_is_described(tmp_path: Path) -> None:
    indexfile.write(tmp_path / "idx.npy", prune(made_rank_file(), 30))
    said = json.loads((tmp_path / "idx.npy.json").read_text())
    table = rows_of_table("## Index files")
    assert set(said) <= set(table)
    for group in ("selection", "source"):
        for key in said[group]:
            assert f"`{key}`" in " ".join(table[group])
    digest = DOCUMENT.split("**Data set digest.**")[1]
    assert all(f"`{key}`" in digest for key in said["dataset"])


def test_the_reader_in_the_document_reads_and_checks(written: Path) -> None:
    code = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {"path": written}
    exec(code[1], names)
    ranks = rankfile.read(written)
    assert names["content"] == ranks.content_sha256
    assert names["friendly_first"].tolist() == ranks.ranking().order.tolist()
    with h5py.File(written, "r+") as file:
        file["margin"][7] = 0
    with pytest.raises(AssertionError):
        exec(code[1], names)


def test_the_tie_rule_in_the_document_is_the_one_that_is_used(written: Path) -> None:
    def mix64(*words: int) -> int:
        state, most = 0, 2**64 - 1
        for word in words:
            state = ((state ^ word) + 0x9E3779B97F4A7C15) & most
            state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & most
            state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & most
            state ^= state >> 31
        return state

    ranks = rankfile.read(written)
    start = int(ranks.identity.label_fingerprint[:16], 16)
    probability = ranks.columns["probability"].astype(np.float64)
    mean = (probability[:, 0] + probability[:, 1]) / 2
    score = ranks.columns["problematic_rank"]
    rows = np.flatnonzero(ranks.profiled).tolist()
    rows.sort(key=lambda row: (score[row], -mean[row], mix64(row, start)))
    assert rows == ranks.ranking().order.tolist()
