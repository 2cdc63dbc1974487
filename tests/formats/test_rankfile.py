from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from datacurate.errors import (
    DataError,
    FileError,
    NewerFormatError,
    OutputError,
    OutputExistsError,
    UnknownNameError,
)
from datacurate.formats import assembling as runs
from datacurate.formats import attributes, rankfile
from datacurate.formats.checking import check
from datacurate.formats.rankfile import RankFile
from datacurate.ranks import scores
from datacurate.recipes import PROFILE_RECIPES, as_dict, recipe_hash, with_settings
from tests.made_ranks import CREATED, made_identity, made_rank_file, made_records

SAMPLE = Path(__file__).parents[1] / "data" / "files" / "ranks-1.0.ranks.h5"
SAMPLE_SHA256 = "a54c4f42c3d1770054629930c941d1176afa0ce3ade8b841351e5a6df9051434"


def assert_equal(first: RankFile, second: RankFile) -> None:
    assert first.provenance == second.provenance
    assert set(first.columns) == set(second.columns)
    for name, values in first.columns.items():
        assert values.dtype == second.columns[name].dtype, name
        assert np.array_equal(values, second.columns[name], equal_nan=values.dtype.kind == "f")
    for field in dataclasses.fields(first.identity):
        one, other = getattr(first.identity, field.name), getattr(second.identity, field.name)
        assert np.array_equal(one, other), field.name


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    examples=st.integers(5, 40),
    number=st.integers(1, 3),
    epochs=st.integers(1, 20),
    left_out=st.integers(0, 4),
    images=st.booleans(),
    aggregate=st.sampled_from(["mean-rank", "pooled"]),
)
def test_what_is_written_is_read_and_holds(
    tmp_path: Path,
    examples: int,
    number: int,
    epochs: int,
    left_out: int,
    images: bool,
    aggregate: str,
) -> None:
    made = made_rank_file(
        examples,
        number,
        epochs,
        profiled=np.arange(left_out, examples),
        images=images,
        aggregate=aggregate,
    )
    path = tmp_path / "made.ranks.h5"
    written = rankfile.write(path, made, force=True)
    found = rankfile.read(path)
    assert_equal(found, made)
    assert found.content_sha256 == written
    assert [item.name for item in check(path) if not item.ok] == []


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.ranks.h5", tmp_path / "second.ranks.h5"
    rankfile.write(first, made_rank_file())
    rankfile.write(second, made_rank_file())
    assert first.read_bytes() == second.read_bytes()


def test_the_columns_hash_does_not_depend_on_time_and_place(tmp_path: Path) -> None:
    made = made_rank_file()
    later = dataclasses.replace(
        made, provenance=dataclasses.replace(made.provenance, created="2027-01-01T00:00:00Z")
    )
    hashes = []
    for number, ranks in enumerate((made, later)):
        rankfile.write(tmp_path / str(number), ranks)
        with rankfile.opened(tmp_path / str(number)) as (_, metadata):
            hashes.append((metadata.columns_sha256, metadata.content_sha256))
    assert hashes[0][0] == hashes[1][0]
    assert hashes[0][1] != hashes[1][1]


def test_the_sample_of_version_1_0_is_read_and_holds() -> None:
    found = rankfile.read(SAMPLE)
    assert found.content_sha256 == SAMPLE_SHA256
    assert found.provenance.created == CREATED
    assert found.runs == 2
    assert len(found) == 60
    assert found.identity.class_names == ("ant", "bee", "cat")
    assert np.flatnonzero(~found.profiled).tolist() == [row for row in range(60) if row % 7 == 3]
    assert found.ranking().order[:5].tolist() == [36, 11, 46, 33, 42]
    assert all(item.ok for item in check(SAMPLE))


def test_plain_h5py_reads_it(tmp_path: Path) -> None:
    made = made_rank_file()
    rankfile.write(tmp_path / "a", made)
    with h5py.File(tmp_path / "a") as file:
        assert {data.shape[0] for data in file.values()} == {len(made)}
        assert file["instability"].shape == (60, 2)
        assert json.loads(file.attrs["dataset"])["name"] == "made"
        assert file.attrs["format_version"] == b"1.0"
        widths = [file.attrs.get_id(name).get_storage_size() for name in file.attrs]
        assert max(widths) <= 60_000


def test_long_texts_are_split(tmp_path: Path) -> None:
    made = made_rank_file()
    names = tuple(f"a class with a rather long name, number {i} – ünïcode" for i in range(5000))
    identity = dataclasses.replace(made.identity, class_names=names)
    rankfile.write(tmp_path / "a", dataclasses.replace(made, identity=identity))
    assert rankfile.read(tmp_path / "a").identity.class_names == names
    with h5py.File(tmp_path / "a") as file:
        assert "class_names.1" in file.attrs
        assert all(file.attrs.get_id(n).get_storage_size() <= 60_000 for n in file.attrs)


def test_some_columns_can_be_read_without_the_others(tmp_path: Path) -> None:
    made = made_rank_file()
    rankfile.write(tmp_path / "a", made)
    found = rankfile.read(tmp_path / "a", columns=("probability", "el2n"))
    assert set(found.columns) == {"problematic_rank", "position", "probability"}
    assert_equal(found, dataclasses.replace(made, columns=found.columns))


def test_pandas_gets_a_column_a_run() -> None:
    pytest.importorskip("pandas")
    made = made_rank_file()
    table = made.to_pandas()
    assert len(table) == 60
    assert table["instability.1"].tolist() == made.columns["instability"][:, 1].tolist()
    assert "correct" not in table


def test_examples_that_were_not_profiled_hold_nothing() -> None:
    made = made_rank_file(10, profiled=[0, 1, 2, 3, 9])
    absent = slice(4, 9)
    assert (made.columns["position"][absent] == -1).all()
    assert np.isnan(made.columns["problematic_rank"][absent]).all()
    assert np.isnan(made.columns["instability"][absent]).all()
    assert (made.columns["first_learned"][absent] == -2).all()
    assert (made.columns["forgetting"][absent] == -2).all()
    assert sorted(made.ranking().order.tolist()) == [0, 1, 2, 3, 9]


def test_runs_of_different_lengths_share_a_file(tmp_path: Path) -> None:
    made = made_rank_file(20, 1, 5)
    records = made_records(20, 1, 5) + made_records(20, 1, 17)
    provenance = dataclasses.replace(
        made.provenance, runs=({"epochs": 5}, {"epochs": 17}), recipe=None, recipe_hash=""
    )
    both = runs.from_runs(made.identity, records, provenance)
    assert both.columns["correct"].shape == (20, 2, 3)
    rankfile.write(tmp_path / "a", both)
    assert all(item.ok for item in check(tmp_path / "a"))


def test_further_measures_are_columns_of_their_own(tmp_path: Path) -> None:
    made = made_rank_file(20, 2)
    measured = np.linspace(0, 1, 20, dtype=np.float32)
    records = made_records(20, 2, 12, clean_probability=measured)
    found = runs.from_runs(made.identity, records, made.provenance)
    assert np.array_equal(found.columns["clean_probability"], np.stack([measured] * 2, axis=1))
    rankfile.write(tmp_path / "a", found)
    assert all(item.ok for item in check(tmp_path / "a"))
    records = made_records(20, 2, 12, beauty=measured)
    with pytest.raises(UnknownNameError, match="no measure called 'beauty'"):
        runs.from_runs(made.identity, records, made.provenance)


def test_ranks_by_several_columns_are_their_mean(tmp_path: Path) -> None:
    made = made_rank_file(20, 2)
    chance = np.random.default_rng(3)
    records = [
        dataclasses.replace(each, measures={"late_probability": chance.random(20, np.float32)})
        for each in made_records(20, 2, 12)
    ]
    recipe = with_settings(
        PROFILE_RECIPES["smoke"],
        ["epochs=12", "rank_by=instability,late_probability", "measures=late_probability"],
    )
    provenance = dataclasses.replace(
        made.provenance, recipe=as_dict(recipe), recipe_hash=recipe_hash(recipe)
    )
    found = runs.from_runs(made.identity, records, provenance)
    columns = found.columns
    # A low probability is problematic, a low instability is not.
    ranks = [
        rankdata(values, method="min") - 1
        for run in range(2)
        for values in (columns["instability"][:, run], -columns["late_probability"][:, run])
    ]
    np.testing.assert_allclose(columns["problematic_rank"], np.mean(ranks, axis=0) / 20, rtol=1e-15)
    alone = found.run_ranking(1)
    np.testing.assert_allclose(alone.score, np.mean(ranks[2:], axis=0) / 20, rtol=1e-15)

    rankfile.write(tmp_path / "a", found)
    assert all(item.ok for item in check(tmp_path / "a"))
    altered = columns["late_probability"].copy()
    altered[[0, 1]] = altered[[1, 0]]
    wrong = dataclasses.replace(found, columns={**columns, "late_probability": altered})
    rankfile.write(tmp_path / "b", wrong)
    failed = [item.name for item in check(tmp_path / "b") if not item.ok]
    assert failed == ["rank from instability and late_probability"]

    with pytest.raises(DataError, match="ranked by late_probability, which is not"):
        runs.from_runs(made.identity, made_records(20, 2, 12), provenance)


def test_runs_that_do_not_fit_are_refused() -> None:
    made = made_rank_file(20, 2)
    with pytest.raises(DataError, match="does not belong"):
        runs.from_runs(made.identity, made_records(20, 1, 12), made.provenance)
    with pytest.raises(DataError, match="wrong length"):
        runs.from_runs(made.identity, made_records(19, 2, 12), made.provenance)
    records = made_records(20, 2, 12)
    nothing = np.full(20, np.nan, dtype=np.float32)
    records[1] = dataclasses.replace(records[1], probability=nothing)
    with pytest.raises(DataError, match="a probability is not a number"):
        runs.from_runs(made.identity, records, made.provenance)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("position", np.zeros(60, np.int32)),
        ("position", np.zeros(59, np.int64)),
        ("instability", np.zeros((60, 3), np.float32)),
        ("correct", np.zeros((60, 2, 1), np.uint8)),
    ],
)
def test_columns_of_another_type_or_shape_are_not_written(
    tmp_path: Path, name: str, values: Any
) -> None:
    made = made_rank_file()
    wrong = dataclasses.replace(made, columns={**made.columns, name: values})
    with pytest.raises(DataError, match=f"column {name} has the wrong type or shape"):
        rankfile.write(tmp_path / "a", wrong)
    assert list(tmp_path.iterdir()) == []


def test_hashes_of_images_come_together(tmp_path: Path) -> None:
    made = made_rank_file()
    identity = dataclasses.replace(made.identity, perceptual_hash=None)
    with pytest.raises(DataError, match="one of the two hashes"):
        rankfile.write(tmp_path / "a", dataclasses.replace(made, identity=identity))


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    path.write_text("precious")
    with pytest.raises(OutputExistsError, match="--force"):
        rankfile.write(path, made_rank_file())
    assert path.read_text() == "precious"
    rankfile.write(path, made_rank_file(), force=True)
    assert len(rankfile.read(path)) == 60
    with pytest.raises(OutputError, match="no directory"):
        rankfile.write(tmp_path / "missing" / "a", made_rank_file())
    with pytest.raises(OutputError):
        rankfile.write(path / "a", made_rank_file())
    assert list(tmp_path.iterdir()) == [path]


def signed(path: Path, **changes: str) -> None:
    """Change attributes and make their hash right again, as a later version would."""
    with h5py.File(path, "r+") as file:
        texts = {name: file.attrs[name].decode() for name in file.attrs} | changes
        del texts["content_sha256"]
        texts["content_sha256"] = attributes.content_sha256(texts)
        for name, text in texts.items():
            file.attrs[name] = np.bytes_(text.encode())


def test_a_later_major_version_is_named_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, made_rank_file())
    signed(path, format_version="2.0")
    with pytest.raises(NewerFormatError, match=r"format version 2\.0"):
        rankfile.read(path)


def test_a_later_minor_version_is_read_with_what_it_adds(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, made_rank_file())
    added = np.arange(60, dtype=np.float32)
    with h5py.File(path, "r+") as file:
        file["beauty"] = added
        columns = json.loads(file.attrs["columns"])
    columns["beauty"] = attributes.column_sha256("beauty", added)
    signed(path, format_version="1.7", columns=json.dumps(columns), mood="good")
    found = rankfile.read(path)
    assert np.array_equal(found.columns["beauty"], added)
    assert all(item.ok for item in check(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "something else"}, "not a rank file"),
        ({"format_version": "one"}, "no valid format version"),
        ({"runs": "{}"}, "JSON value has the wrong type"),
        ({"runs": "["}, "not JSON"),
        ({"runs": "[" * 50_000}, "not JSON"),
        ({"runs": '[{"epochs": true}, {"epochs": 12}]'}, "does not state its epochs"),
        ({"runs": '[{"epochs": 12}]'}, "wrong type or shape"),
        ({"runs": '[{"epochs": 999}, {"epochs": 12}]'}, "wrong type or shape"),
        ({"class_names": '["ant", "bee"]'}, "does not name every class"),
        ({"class_names": r'["ant", "bee", "\u001b[2J"]'}, "control characters"),
        ({"columns": "{}"}, "does not have the columns it states"),
        ({"dataset": "{}"}, "name is missing"),
    ],
)
def test_attributes_that_do_not_hold_are_named(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, made_rank_file())
    signed(path, **changes)
    with pytest.raises(FileError, match=message):
        rankfile.read(path)


def test_a_changed_attribute_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, made_rank_file())
    with h5py.File(path, "r+") as file:
        file.attrs["created"] = np.bytes_(b"yesterday")
    with pytest.raises(FileError, match="was changed after it was written"):
        rankfile.read(path)


@pytest.mark.parametrize("name", ["position", "instability", "correct", "content_hash", "label"])
def test_a_changed_value_is_noticed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, made_rank_file())
    with h5py.File(path, "r+") as file:
        file[name][7] = 0
    with pytest.raises(FileError, match=f"column {name} .* does not match its hash"):
        rankfile.read(path)


def with_column(made: RankFile, name: str, change: Any) -> RankFile:
    values = made.columns[name].copy()
    change(values)
    return dataclasses.replace(made, columns={**made.columns, name: values})


def set_to(*where: Any, value: Any) -> Any:
    def change(values: Any) -> None:
        values[where] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "failing"),
    [
        ("instability", set_to(5, 0, value=0.123), "instability from the record"),
        ("instability", set_to(5, 0, value=1.5), "range of instability"),
        ("instability", set_to(5, 0, value=np.nan), "range of instability"),
        ("first_learned", set_to(59, 1, value=11), "first_learned from the record"),
        ("forgetting", set_to(0, 0, value=0), "forgetting from the record"),
        ("correct", set_to(5, 0, 1, value=0x01), "instability from the record"),
        ("problematic_rank", set_to(5, value=0.987), "rank from instability"),
        ("problematic_rank", set_to(5, value=1.0), "range of problematic_rank"),
        ("position", set_to(slice(0, 2), value=[59, 58]), "position from rank and tie rule"),
        ("position", set_to(5, value=-1), "not profiled"),
        ("probability", set_to(5, 0, value=-0.25), "range of probability"),
        ("margin", set_to(5, 0, value=np.inf), "range of margin"),
    ],
)
def test_check_names_what_does_not_follow(
    tmp_path: Path, name: str, change: Any, failing: str
) -> None:
    path = tmp_path / "a.ranks.h5"
    rankfile.write(path, with_column(made_rank_file(), name, change))
    assert failing in [item.name for item in check(path) if not item.ok]


def test_check_looks_at_the_recipe(tmp_path: Path) -> None:
    made = made_rank_file()
    wrong = dataclasses.replace(made.provenance, recipe_hash="0" * 16)
    rankfile.write(tmp_path / "a", dataclasses.replace(made, provenance=wrong))
    assert [item.name for item in check(tmp_path / "a") if not item.ok] == ["recipe hash"]
    changes: tuple[dict[str, Any], ...] = (
        {"runs": 1},
        {"training": []},
        {"training": {"epochs": 11}},
    )
    for change in changes:
        recipe = {**(made.provenance.recipe or {}), **change}
        wrong = dataclasses.replace(made.provenance, recipe=recipe)
        rankfile.write(tmp_path / "b", dataclasses.replace(made, provenance=wrong), force=True)
        assert "runs" in [item.name for item in check(tmp_path / "b") if not item.ok]


def test_ranks_that_were_taken_over_need_no_runs(tmp_path: Path) -> None:
    made = made_rank_file(images=False)
    provenance = dataclasses.replace(
        made.provenance, kind="import", aggregation="given", runs=(), recipe=None, recipe_hash=""
    )
    order = np.random.default_rng(0).permutation(60)
    columns = {"problematic_rank": order / 60, "position": order}
    taken = RankFile(made_identity(images=False), columns, provenance)
    rankfile.write(tmp_path / "a", taken)
    assert all(item.ok for item in check(tmp_path / "a"))
    assert_equal(rankfile.read(tmp_path / "a"), taken)


def test_an_order_that_is_none_is_not_used() -> None:
    made = made_rank_file()
    with pytest.raises(DataError, match="not an order"):
        with_column(made, "position", set_to(0, value=1_000_000)).ranking()
    with pytest.raises(DataError, match="not a number"):
        with_column(made, "problematic_rank", set_to(0, value=np.nan)).ranking()


def test_the_record_can_be_unpacked(tmp_path: Path) -> None:
    made = made_rank_file()
    rankfile.write(tmp_path / "a", made)
    packed = rankfile.read(tmp_path / "a").columns["correct"][:, 1]
    correct = scores.unpack(packed, 12)
    expected = (1 - correct.mean(axis=1)).astype(np.float32)
    assert np.allclose(made.columns["instability"][:, 1], expected)
