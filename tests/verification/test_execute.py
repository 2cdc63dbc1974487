"""Verification: arms that are what they say, one record whether interrupted or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from datacurate import verification
from datacurate.data import DataSet, ImageData, load
from datacurate.errors import (
    FileError,
    OutputBusyError,
    OutputError,
    OutputExistsError,
    StateError,
    UsageError,
)
from datacurate.identity import identify
from datacurate.nets import build
from datacurate.outputs import only_writer
from datacurate.recipes import VERIFY_RECIPES, VerifyRecipe, with_settings
from datacurate.training.checkpoints import save_network
from datacurate.verification import (
    KEPT_ARM,
    GivenRows,
    Point,
    Verification,
    VerificationProgress,
    arms_of,
    as_record,
    compare_again,
    held_out_rows,
    read_record,
    sweep,
    verify,
    with_own_arms,
)
from datacurate.verification.record import broken_by
from datacurate.verification.summary import summarize_arms
from datacurate.verification.table import as_markdown
from datacurate.workers.workspace import is_unfinished

Rows = np.ndarray[Any, np.dtype[np.int64]]
Images = np.ndarray[Any, np.dtype[np.uint8]]

RECIPE: VerifyRecipe = with_settings(
    VERIFY_RECIPES["smoke"],
    ["width=4", "seeds=2", "examples=12", "execution.dtype=float32", "epochs=3"],
)


def of_kept(rows: Rows) -> dict[str, GivenRows]:
    """Return rows as those of the arm of kept examples."""
    return {KEPT_ARM: GivenRows(rows, {"file": "idx.npy"})}


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
    assert record == json.loads(json.dumps(as_record(result)))
    assert [(m.arm, m.seed) for m in result.networks] == [
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
    sizes = {m.arm: m.size for m in result.networks}
    assert sizes["kept"] == sizes["random"] == record["arms"]["kept"]["trained_on"]
    assert sizes["all"] == 1437 - record["data"]["held_out"]
    assert (
        record["arms"]["kept"]["given"] == 300
    )  # what was asked for; held-out rows left every arm
    attacked = {len(e) for m in result.networks for e in (m.best, m.last)}
    assert attacked == {12}
    assert sorted(out.parent.iterdir()) == [out, out.with_suffix(".md")]


def test_a_record_gives_its_verdicts_again(
    found: tuple[Path, Verification], tmp_path: Path
) -> None:
    out, result = found
    record = read_record(out)
    assert compare_again(record) == result.comparisons
    robust = {(m.arm, m.seed): m.best.outcome.broken_by for m in result.networks}
    for member in record["members"]:
        assert np.array_equal(broken_by(member["best"]), robust[member["arm"], member["seed"]])
    # Two comparisons: each interval at 97.5 %, recomputed here from the stated counts alone.
    counts = {(m["arm"], m["seed"]): m["best"]["robust"]["correct"] for m in record["members"]}
    gains = [100 * (counts["kept", s] - counts["all", s]) / 12 for s in (0, 1)]
    spread = max(np.std(gains, ddof=1), 100 / 12)
    half = stats.t.ppf(0.9875, 1) * spread / 2**0.5
    assert record["comparisons"][0]["low"] == pytest.approx(np.mean(gains) - half)

    changed = tmp_path / "changed.json"
    for path, value, said in (
        (("comparisons", 0, "word"), "better", "a verdict does not match"),
        (("comparisons", 1, "low"), 0.5, "low of kept against random does not match"),
        (("members", 2, "best", "clean", "correct"), 13, "clean accuracy of random, seed 0, best"),
        (("recipe", "seeds"), 7, "the recipe's hash does not match"),
        (("members", 1, "best", "examples", "pgd10"), "!", "is damaged"),
        (("format_version",), "2.0", "later version"),
        (("format",), "mine", "not the record of a verification"),
    ):
        other = json.loads(out.read_text())
        place = other
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        changed.write_text(json.dumps(other))
        with pytest.raises(FileError, match=said):
            read_record(changed)
    changed.write_text(out.read_text()[:-40])
    with pytest.raises(FileError, match="cannot be read"):
        read_record(changed)


def test_gaps_are_differences_of_what_members_reached(found: tuple[Path, Verification]) -> None:
    record = json.loads(found[0].read_text())
    for summary in record["summary"]:
        members = [m for m in record["members"] if m["arm"] == summary["arm"]]
        best, last = (
            {name: [m[which][name]["percent"] for m in members] for name in ("pgd10", "robust")}
            for which in ("best", "last")
        )
        gap = np.subtract(best["robust"], last["robust"])
        assert summary["robust_overfitting_gap"]["mean"] == pytest.approx(gap.mean())
        assert summary["robust_overfitting_gap"]["sd"] == pytest.approx(gap.std(ddof=1))
        masked = np.subtract(best["pgd10"], best["robust"])
        assert summary["best"]["overestimation_gap"]["mean"] == pytest.approx(masked.mean())
        assert summary["best"]["cross_generalization_gap"] is None
        assert summary["best"]["robust"]["sd"] == pytest.approx(np.std(best["robust"], ddof=1))


def test_standard_trainings_give_the_cross_generalization_gap(
    digits: DataSet, kept: Rows, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, arms=("kept",), standard=True, seeds=1)
    out = tmp_path / "verify.json"
    result = verify(recipe, digits, of_kept(kept), out)
    (standard,) = result.standard
    (summary,) = summarize_arms(result)
    gap = summary.best.cross_generalization_gap
    assert gap is not None
    assert gap.mean == pytest.approx(standard.best.percent - result.networks[0].best.clean.percent)
    # The same rows and seed trained apart in the standard way reach the same clean accuracy.
    alone = replace(recipe, standard=False, training=replace(recipe.training, method="standard"))
    again = verify(alone, digits, of_kept(kept), tmp_path / "alone.json")
    assert again.networks[0].best.clean == standard.best
    assert "clean lost" in out.with_suffix(".md").read_text()
    with pytest.raises(UsageError, match="standard ones already"):
        verify(replace(alone, standard=True), digits, of_kept(kept), tmp_path / "no.json")


def test_an_upper_bound_says_so_and_masked_gradients_are_told(
    found: tuple[Path, Verification],
) -> None:
    result = found[1]
    assert "upper bound" not in as_markdown(result)
    weaker = replace(result, recipe=replace(result.recipe, suite="fast"))
    text = as_markdown(weaker)
    assert "fast (upper bound)" in text
    assert "by an upper bound of robust accuracy" in text
    first = result.networks[0]
    masked = replace(first.best, outcome=replace(first.best.outcome, warnings=("flat loss",)))
    told = replace(result, networks=(replace(first, best=masked), *result.networks[1:]))
    assert "- all, seed 0, best checkpoint: flat loss" in as_markdown(told)
    seen = replace(result, recipe=replace(result.recipe, select="test"))
    assert "and depend on them" in as_markdown(seen)


def test_a_sweep_trains_what_its_values_share_once(digits: DataSet, tmp_path: Path) -> None:
    recipe = replace(RECIPE, arms=("all", "kept"), seeds=1)
    order = np.random.default_rng(1).permutation(len(digits.train))
    points = [Point(str(count), recipe, of_kept(np.sort(order[:count]))) for count in (400, 800)]
    trained: list[tuple[str, str]] = []
    stop_after = 1

    def watch(value: str, progress: VerificationProgress) -> None:
        if progress.epoch is not None and progress.epoch.epoch == 3:
            trained.append((value, progress.arm))
        if len(trained) == stop_after:
            raise Stop

    out = tmp_path / "sweep.json"
    for stop_after in (1, 2, 9):
        if stop_after < 9:
            with pytest.raises(Stop):
                sweep("keep", points, digits, out, on_progress=watch)
        else:
            table = sweep("keep", points, digits, out, on_progress=watch)
    assert trained == [("400", "all"), ("400", "kept"), ("800", "kept")]
    verify(recipe, digits, points[1].given, tmp_path / "alone.json")
    alone = timeless(json.loads((tmp_path / "alone.json").read_text()))
    swept = timeless(json.loads((tmp_path / table["points"][1]["record"]).read_text()))
    assert swept == alone
    assert table["points"][1]["summary"][1]["examples"] == alone["members"][1]["examples"]
    names = {path.name for path in tmp_path.iterdir()} - {"alone.json", "alone.md"}
    assert names == {"sweep.json", "sweep.csv"} | {
        f"sweep.keep_{count}.{kind}" for count in (400, 800) for kind in ("json", "md")
    }


def test_a_folder_that_is_not_its_own_is_left_alone(digits: DataSet, tmp_path: Path) -> None:
    theirs = tmp_path / "verify.state"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("precious")
    (theirs / "kernels.json").write_text("{}")
    recipe = replace(RECIPE, arms=("all",), seeds=1)
    for force in (False, True):
        with pytest.raises(StateError, match="holds other files"):
            verify(recipe, digits, {}, tmp_path / "verify.json", force=force)
    assert (theirs / "thesis.txt").read_text() == "precious"
    (theirs / "thesis.txt").unlink()
    verify(recipe, digits, {}, tmp_path / "verify.json")  # a work killed before its claim left it
    with pytest.raises(UsageError, match="cannot be kept there"):
        verify(recipe, digits, {}, tmp_path / "v.json", trainings=tmp_path / "v.state")


def test_values_of_a_sweep_with_one_file_name_are_refused(digits: DataSet, tmp_path: Path) -> None:
    points = [Point(value, RECIPE, {}) for value in ("1e-1", "1e+1")]
    with pytest.raises(UsageError, match="overwrite each other"):
        sweep("learning_rate", points, digits, tmp_path / "sweep.json")
    with pytest.raises(UsageError, match="overwrite each other"):
        sweep("learning_rate", points[:1], digits, tmp_path / "sweep.csv")


def test_a_forced_sweep_goes_on_with_its_own_records_alone(digits: DataSet, tmp_path: Path) -> None:
    recipe = replace(RECIPE, arms=("all",), seeds=1, suite="fast")
    recipe = replace(recipe, training=replace(RECIPE.training, epochs=1))
    out = tmp_path / "sweep.json"

    def points(radius: float) -> list[Point]:
        changed = replace(recipe, radius=radius)
        return [Point(str(seed), replace(changed, seed=seed), {}) for seed in (0, 1)]

    def radii(table: dict[str, Any]) -> list[float]:
        records = (read_record(tmp_path / point["record"]) for point in table["points"])
        return [record["recipe"]["radius"] for record in records]

    def second(value: str, progress: VerificationProgress) -> None:
        if value == "1":
            raise Stop

    before = sweep("seed", points(8.0), digits, out)
    assert radii(before) == [8, 8]
    with pytest.raises(Stop):
        sweep("seed", points(1.0), digits, out, force=True, on_progress=second)
    assert radii(before) == [1, 8], "nothing is lost before it is replaced"
    out.unlink()
    out.with_suffix(".csv").unlink()
    assert radii(sweep("seed", points(1.0), digits, out)) == [1, 1]


def test_an_unfinished_sweep_belongs_to_its_surrogate(digits: DataSet, tmp_path: Path) -> None:
    recipe = replace(RECIPE, arms=("all",), seeds=1, suite="transfer")
    recipe = replace(recipe, training=replace(RECIPE.training, epochs=1))
    points = [Point(str(seed), replace(recipe, seed=seed), {}) for seed in (0, 1)]
    model = recipe.training.model
    shape = digits.train.identity.shape
    for seed in (0, 1):
        net = build(model, 10, shape[2], (0.5,), (0.3,), seed)
        names = digits.train.identity.class_names
        save_network(tmp_path / f"{seed}.pt", net.state_dict(), model, names, shape, {})

    def second(value: str, progress: VerificationProgress) -> None:
        if value == "1":
            raise Stop

    out = tmp_path / "sweep.json"
    with pytest.raises(Stop):
        sweep("seed", points, digits, out, surrogate=tmp_path / "0.pt", on_progress=second)
    with pytest.raises(StateError):
        sweep("seed", points, digits, out, surrogate=tmp_path / "1.pt")
    table = sweep("seed", points, digits, out, surrogate=tmp_path / "0.pt")
    records = [read_record(tmp_path / point["record"]) for point in table["points"]]
    assert {record["data"]["surrogate"]["file"] for record in records} == {"0.pt"}


def test_kept_trainings_serve_another_verification(digits: DataSet, tmp_path: Path) -> None:
    given = of_kept(np.arange(0, 1437, 4))
    recipe = replace(RECIPE, arms=("kept",), seeds=1)
    trainings, trained = tmp_path / "trainings", list[int]()

    def record(out: str, data: DataSet, changed: VerifyRecipe, folder: Path | None) -> Any:
        trained.clear()
        path = tmp_path / out

        def watch(progress: VerificationProgress) -> None:
            if progress.epoch is not None:
                trained.append(progress.seed)

        verify(changed, data, given, path, trainings=folder, on_progress=watch)
        return timeless(json.loads(path.read_text()))

    def left(changed: VerifyRecipe, data: DataSet = digits) -> float:
        plan = verification.plan(changed, data, given, tmp_path / "plan.json", trainings=trainings)
        return plan.estimated_seconds()

    assert left(recipe) > 0
    record("first.json", digits, recipe, trainings)
    assert trained == [0, 0, 0]
    assert left(recipe) == 0
    other_suite = replace(recipe, suite="fast", examples=20)
    again = record("fast.json", digits, other_suite, trainings)
    assert not trained
    assert again == record("alone.json", digits, other_suite, None)
    record("two.json", digits, replace(recipe, seeds=2), trainings)
    assert trained == [1, 1, 1]
    # The same rows of other images, and images that are tested but not trained on.
    images = digits.train.images.copy()
    images[1] ^= 1
    other = replace(digits, train=of(images, digits.train))
    assert left(recipe, other) > 0
    tested = replace(digits, test=of(digits.test.images[::2], digits.test))
    assert left(recipe, tested) > 0


def of(images: Images, split: ImageData) -> ImageData:
    """Return other images with as many of the labels, and an identity of their own."""
    labels = split.labels[: len(images)]
    identity = identify("other", "train", images, labels, split.identity.class_names)
    return replace(split, images=images, labels=labels, identity=identity)


def test_trainings_that_cannot_be_kept(digits: DataSet, tmp_path: Path) -> None:
    given, out = of_kept(np.arange(0, 1437, 4)), tmp_path / "verify.json"
    with pytest.raises(OutputError, match="cannot be created"):
        verify(RECIPE, digits, given, out, trainings=tmp_path / "no" / "trainings")
    folder = tmp_path / "trainings"
    folder.mkdir()
    with (
        only_writer(folder / "members.lock", "it"),
        pytest.raises(OutputBusyError, match="the trainings in"),
    ):
        verify(RECIPE, digits, given, out, trainings=folder)
    assert not out.exists()


def test_values_of_a_sweep_that_share_a_training_attack_it_with_their_own_noise(
    digits: DataSet, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, arms=("a",), suite="fast", training=replace(RECIPE.training, epochs=1))
    given = {"a": GivenRows(np.arange(0, 1437, 5))}
    points = [Point(str(seed), replace(recipe, seed=seed), given) for seed in (0, 1)]
    trained: list[int] = []

    def watch(value: str, progress: VerificationProgress) -> None:
        if progress.epoch is not None:
            trained.append(progress.seed)

    table = sweep("seed", points, digits, tmp_path / "sweep.json", on_progress=watch)
    assert trained == [0, 1, 2]
    first, second = (read_record(tmp_path / point["record"]) for point in table["points"])
    shared = [m for m in (*first["members"], *second["members"]) if m["seed"] == 1]
    assert shared[0]["best"]["clean"] == shared[1]["best"]["clean"]
    assert shared[0]["best"]["seed"] != shared[1]["best"]["seed"]


def test_attacks_search_in_the_recipe_s_type(
    found: tuple[Path, Verification], digits: DataSet, tmp_path: Path
) -> None:
    other = with_settings(RECIPE, ["execution.dtype=bfloat16", "seeds=1", "epochs=1", "arms=all"])
    members = (*found[1].networks, *verify(other, digits, {}, tmp_path / "verify.json").networks)
    types = [member.best.outcome.implementation.split()[-1] for member in members]
    assert types == ["float32"] * len(found[1].networks) + ["bfloat16"]


def test_robust_is_never_above_clean_or_pgd(found: tuple[Path, Verification]) -> None:
    for member in found[1].networks:
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

    def stop(progress: VerificationProgress) -> None:
        training = progress.epoch is not None and progress.epoch.epoch == 2
        in_attack = "apgd-t" in progress.attack
        if progress.unit == 3 and (training if moment == "training" else in_attack):
            raise Stop

    with pytest.raises(Stop):
        verify(RECIPE, digits, of_kept(kept), out, on_progress=stop)
    assert is_unfinished(verification.workspace_of(out))
    assert not out.exists()
    verify(RECIPE, digits, of_kept(kept), out)
    assert timeless(json.loads(out.read_text())) == timeless(json.loads(found[0].read_text()))


_TIMES = ("seconds", "minutes", "created")


def timeless(record: Any) -> Any:
    """Return a record without its times."""
    if isinstance(record, dict):
        return {k: timeless(v) for k, v in record.items() if k not in _TIMES}
    return [timeless(v) for v in record] if isinstance(record, list) else record


def test_other_work_is_refused(digits: DataSet, kept: Rows, tmp_path: Path) -> None:
    out = tmp_path / "verify.json"

    def stop(progress: VerificationProgress) -> None:
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
