"""Scores of other software: what each writes, what becomes of it, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from datacurate.errors import DataError, DataMismatchError, FileError, UsageError
from datacurate.formats import rankfile
from datacurate.formats.checking import check
from datacurate.formats.rankfile import RankFile
from datacurate.importing import identity_for, import_ranks
from tests.made_ranks import made_identity

N = 60
CHANCE = np.random.default_rng(0)
SCORES = CHANCE.normal(size=N)
COUNTS = CHANCE.integers(0, 9, N)
NEVER = np.arange(N) % 10 == 4


def save(path: Path, values: Any) -> Path:
    np.save(path, values, allow_pickle=True)
    return path


def aum_csv(path: Path, ids: Any = None, values: Any = None) -> Path:
    # The package sorts its lines by margin.
    values = SCORES if values is None else values
    order = np.argsort(values)[::-1]
    ids = np.arange(N) if ids is None else np.asarray(ids)
    lines = [f"{ids[row]},{values[row].item()!r}" for row in order.tolist()]
    path.write_text("sample_id,aum\n" + "\n".join(lines))
    return path


def cartography(path: Path, **changes: Any) -> Path:
    lines = []
    for row in CHANCE.permutation(N).tolist():
        line = {
            "guid": row,
            "index": 0,
            "threshold_closeness": 0.1,
            "confidence": row / N,
            "variability": 0.25,
            "correctness": row % 7,
            "forgetfulness": 1000 if NEVER[row] else int(COUNTS[row]),
        }
        lines.append(json.dumps({**line, **changes}))
    path.write_text("\n".join(lines) + "\n")
    return path


def toneva(path: Path, protocol: int = 2, **changes: Any) -> Path:
    counts = np.where(NEVER, 200, COUNTS)
    order = np.argsort(counts, kind="stable")
    content = {"indices": order, "forgetting counts": counts[order], **changes}
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def written(ranks: RankFile, place: Path) -> RankFile:
    """What a file keeps of ranks; every check of it holds."""
    path = place / "imported.ranks.h5"
    rankfile.write(path, ranks, force=True)
    assert [item.name for item in check(path) if not item.ok] == []
    return rankfile.read(path)


def assert_ranked_by(ranks: RankFile, problematic: np.ndarray) -> None:
    """Eq. 4 by another implementation; ties stand together."""
    expected = (stats.rankdata(problematic, method="min") - 1) / N
    assert np.array_equal(ranks.columns["problematic_rank"], expected)
    order = ranks.ranking().order
    assert (np.diff(problematic[order]) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "write", "column", "end", "problematic"),
    [
        ("el2n", lambda p: save(p / "e.npy", np.abs(SCORES)), "el2n", "high", np.abs(SCORES)),
        ("aum", lambda p: aum_csv(p / "aum_values.csv"), "aum", "low", -SCORES),
        (
            "cartography",
            lambda p: cartography(p / "td.jsonl"),
            "confidence",
            "low",
            -np.arange(N) / N,
        ),
        (
            "forgetting",
            lambda p: toneva(p / "sorted.pkl"),
            "clean_forgetting",
            "high",
            np.where(NEVER, 200.0, COUNTS),
        ),
    ],
)
def test_each_kind_knows_its_problematic_end(
    tmp_path: Path,
    kind: str,
    write: Callable[[Path], Path],
    column: str,
    end: str,
    problematic: np.ndarray,
) -> None:
    ranks = written(import_ranks(write(tmp_path), kind, made_identity(N)), tmp_path)
    assert_ranked_by(ranks, problematic)
    source = ranks.provenance.source
    assert (source["column"], source["problematic"]) == (column, end)
    assert source["imported_as"] == kind
    assert ranks.provenance.aggregation == "column"
    assert len(ranks.provenance.parents[0]["sha256"]) == 64


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_never_learned_is_a_value_of_its_own(tmp_path: Path, protocol: int) -> None:
    path = toneva(tmp_path / "sorted.pkl", protocol)
    ranks = written(import_ranks(path, "forgetting", made_identity(N), never=200), tmp_path)
    counts = ranks.columns["clean_forgetting"]
    assert np.array_equal(counts, np.where(NEVER, -1, COUNTS))
    # As problematic as it gets, however it is written.
    assert set(ranks.ranking().order[-NEVER.sum() :].tolist()) == set(np.flatnonzero(NEVER))
    for stand_in in (np.inf, -1.0):
        other = save(tmp_path / "f.npy", np.where(NEVER, stand_in, COUNTS))
        again = import_ranks(other, "forgetting", made_identity(N))
        assert np.array_equal(again.columns["clean_forgetting"], counts)
        assert np.array_equal(again.columns["position"], ranks.columns["position"])


def test_cartography_brings_its_other_measures(tmp_path: Path) -> None:
    path = cartography(tmp_path / "td.jsonl")
    ranks = written(import_ranks(path, "cartography", made_identity(N)), tmp_path)
    assert np.array_equal(ranks.columns["correctness"], np.arange(N) % 7)
    assert np.array_equal(ranks.columns["clean_forgetting"], np.where(NEVER, -1, COUNTS))
    assert set(ranks.columns["variability"].tolist()) == {0.25}


@pytest.mark.parametrize("direction", ["high", "low"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8", ">f8"])
def test_scores_are_taken_over_exactly(tmp_path: Path, direction: Any, dtype: str) -> None:
    values = (SCORES * 20 + 100).astype(dtype)
    path = save(tmp_path / "s.npy", values)
    ranks = import_ranks(path, "scores", made_identity(N), direction=direction)
    ranks = written(ranks, tmp_path)
    assert np.array_equal(ranks.columns["score"], values.astype(np.float64))
    assert_ranked_by(ranks, values.astype(np.float64) * (1 if direction == "high" else -1))


@pytest.mark.parametrize(
    "text",
    [
        "score\n" + "\n".join(map(repr, SCORES.tolist())),
        "row,loss\n" + "\n".join(f"{r},{SCORES[r].item()!r}" for r in reversed(range(N))),
        "name,score,id\n" + "\n".join(f"x{r},{SCORES[r].item()!r},{r}" for r in range(N)),
    ],
)
def test_scores_in_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    ranks = import_ranks(tmp_path / "s.csv", "scores", made_identity(N), direction="high")
    assert np.array_equal(ranks.columns["score"], SCORES)


def test_tensors_as_ids(tmp_path: Path) -> None:
    path = aum_csv(tmp_path / "aum.csv", [f"tensor({row})" for row in range(N)])
    ranks = import_ranks(path, "aum", made_identity(N))
    assert np.array_equal(ranks.columns["aum"], SCORES)


def test_equal_input_gives_an_equal_file(tmp_path: Path) -> None:
    path = save(tmp_path / "s.npy", SCORES)
    hashes = {
        rankfile.write(
            tmp_path / name, import_ranks(path, "scores", made_identity(N), direction="low")
        )
        for name in ("a", "b")
    }
    assert len(hashes) == 1


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.mark}",))


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = toneva(tmp_path / "sorted.pkl", indices=Trap(mark))
    with pytest.raises(FileError, match="asks to load"):
        import_ranks(path, "forgetting", made_identity(N))
    for kind in ("el2n", "scores", "forgetting"):
        trapped = save(tmp_path / "trap.npy", np.array([Trap(mark)] * N, dtype=object))
        with pytest.raises(FileError, match="does not hold the ranks or scores"):
            import_ranks(
                trapped,
                kind,
                made_identity(N),
                direction="high" if kind == "scores" else None,
            )
    assert not mark.exists()


def with_nan() -> np.ndarray:
    values = np.abs(SCORES)
    values[7] = np.nan
    return values


@pytest.mark.parametrize(
    ("kind", "write", "message"),
    [
        ("el2n", lambda p: save(p / "e.npy", SCORES), "0 or more"),
        ("el2n", lambda p: save(p / "e.npy", with_nan()), "nan in row 7"),
        ("el2n", lambda p: save(p / "e.npy", np.abs(SCORES)[1:]), r"\(59,\)"),
        ("el2n", lambda p: save(p / "e.npy", np.ones((N, 2))), r"\(60, 2\)"),
        ("el2n", lambda p: save(p / "e.npy", np.full(N, "a")), "<U1"),
        ("forgetting", lambda p: save(p / "f.npy", np.full(N, -2)), "-2"),
        ("forgetting", lambda p: save(p / "f.npy", np.full(N, 2**60)), "2.53"),
        ("forgetting", lambda p: toneva(p / "f.pkl", indices=np.zeros(N, int)), "once"),
        ("forgetting", lambda p: toneva(p / "f.pkl", indices=np.arange(3)), r"\(3,\)"),
        ("forgetting", lambda p: toneva(p / "f.pkl", indices=[1, 2]), "integers each"),
        ("aum", lambda p: aum_csv(p / "a.csv", np.zeros(N, int)), "row 0 60 times"),
        ("aum", lambda p: aum_csv(p / "a.csv", np.arange(N) + 1), "row 60"),
        ("aum", lambda p: aum_csv(p / "a.csv", ["x"] * N), "row numbers"),
        ("aum", lambda p: cartography(p / "a.csv"), "a column sample_id"),
        ("cartography", lambda p: cartography(p / "c.jsonl", confidence=None), "numbers|without"),
        ("cartography", lambda p: cartography(p / "c.jsonl", guid=[1]), "row numbers"),
        ("cartography", lambda p: cartography(p / "c.jsonl", confidence="high"), "string"),
        ("cartography", lambda p: aum_csv(p / "c.jsonl"), "a JSON object in each line"),
    ],
)
def test_what_is_not_of_that_kind_is_refused(
    tmp_path: Path, kind: str, write: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(FileError, match="does not hold the ranks or scores") as caught:
        import_ranks(write(tmp_path), kind, made_identity(N))
    assert re.search(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("kind", ["forgetting", "el2n", "aum", "cartography"])
@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x80\x04", b"{", b"\xff" * 99, b"a,a\n1,2"]
)
def test_damage_is_refused(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(FileError):
        import_ranks(path, kind, made_identity(N))
    with pytest.raises(FileError, match="there is no file"):
        import_ranks(tmp_path / "absent", kind, made_identity(N))


def test_what_is_asked_must_fit_the_kind(tmp_path: Path) -> None:
    path = save(tmp_path / "s.npy", np.abs(SCORES))
    with pytest.raises(UsageError, match="nothing says which end"):
        import_ranks(path, "scores", made_identity(N))
    with pytest.raises(UsageError, match="states which end is problematic"):
        import_ranks(path, "el2n", made_identity(N), direction="low")
    with pytest.raises(UsageError, match="no count for never learned"):
        import_ranks(path, "el2n", made_identity(N), never=3)
    with pytest.raises(UsageError, match="no kind of file"):
        import_ranks(path, "magic", made_identity(N))


def test_the_identity_of_a_named_data_set() -> None:
    bare = identity_for("cifar10")
    assert (len(bare), bare.labelled, bare.classes) == (50_000, False, 10)
    assert identity_for("digits").content_hash is not None
    with pytest.raises(DataError, match="Tiny-ImageNet") as caught:
        identity_for("tiny-imagenet")
    assert "--data" in str(caught.value.hint)


@pytest.mark.real_data
def test_data_that_is_not_the_official_one_lends_no_hashes(shared_data: Path) -> None:
    """Its rows may be other examples than those the ranks are of."""
    for name, place in (("cifar100", "cifar100-part"), ("cifar10", "cifar10-jpeg-first5000")):
        with pytest.raises(DataMismatchError, match="not the official"):
            identity_for(name, shared_data / place)
