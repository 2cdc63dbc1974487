"""profile → prune → verify → evaluate on the command line, and what each refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run
from tests.verification.test_execute import timeless

RECORDS = ("verify.json", "alone.json")
QUICK = ("--recipe", "smoke", "--set", "width=4", "--set", "epochs=1")


@pytest.fixture
def profiled(here: Path, run: Run) -> Path:
    """A directory with the ranks of a short profile, an index of it and its networks."""
    code, out, err = run("profile", "digits", *QUICK, "--set", "runs=2", "--checkpoints", "nets")
    assert code == 0, err
    assert "1,437 examples ranked over 2 runs" in out
    assert "Spearman" in out
    assert run("prune", "--keep", "80%", "--out", "idx.npy")[0] == 0
    return here


def test_the_whole_way(profiled: Path, run: Run) -> None:
    code, out, err = run("verify", *QUICK)
    assert code == 0, err
    assert "kept against all: no detectable difference: one pair differs by" in out
    assert "one seed detects no difference whatever its size" in err
    record = json.loads((profiled / "verify.json").read_text())
    assert record["command"] == ["datacurate", "verify", *QUICK]
    assert "`datacurate verify --recipe smoke " in (profiled / "verify.md").read_text()
    assert [m["arm"] for m in record["members"]] == ["all", "kept", "random"]
    assert {m["best"]["n"] for m in record["members"]} == {64}
    assert record["arms"]["kept"]["source"]["file"] == "digits.ranks.h5"

    code, out, err = run("verify", *QUICK)
    assert code == 1
    assert "exists already" in err
    code, out, err = run("verify", *QUICK, "--out", "v2.json", "--expect", "better", "--json")
    assert code == 1  # one seed never shows it
    assert json.loads(out)["comparisons"][0]["word"] == "no detectable difference"

    code, out, err = run(
        "evaluate", "nets/digits.run1.pt", "digits", "--suite", "custom", "--examples", "20"
    )
    assert code == 0, err
    assert "20 test examples" in out
    assert "after apgd-t" in out


def test_several_at_a_time(profiled: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datacurate.machine.cores", lambda: 1)
    options = (*QUICK, "--set", "arms=all,kept", "--suite", "pgd-10")
    code, out, err = run("verify", *options, "--parallel", "2")
    assert code == 0, err
    assert "kept against all: " in out
    assert "1 thread, 2 at a time" in err
    assert (
        "2 trainings at a time with 1 threads each share 1 cores: fewer at a time may be faster"
        in err
    )
    for member in ("all, seed 0 (1/2)", "kept, seed 0 (2/2)"):
        assert f"{member} epoch 1/1: " in err
        assert f"{member}: best: pgd, " in err
        assert f"{member}: best: pgd-10, 64 of 64 examples" in err.splitlines()
    code, out, err = run("verify", *options, "--parallel", "1", "--out", "alone.json")
    assert code == 0, err
    assert "at a time" not in err
    beside, alone = (json.loads((profiled / name).read_text()) for name in RECORDS)
    assert timeless(beside["members"]) == timeless(alone["members"])
    assert beside["recipe_hash"] == alone["recipe_hash"]
    assert run("verify", *options, "--parallel", "0")[0] == 2


def test_another_suite_on_kept_trainings(profiled: Path, run: Run) -> None:
    options = (*QUICK, "--set", "arms=all,kept", "--trainings", "nets/of-arms")
    code, _, err = run("verify", *options, "--suite", "pgd-10", "--out", "first.json")
    assert code == 0, err
    assert "Estimated time of its trainings" in err
    other = (*options, "--suite", "custom", "--set", "examples=32")
    code, _, err = run("verify", *other, "--out", "second.json")
    assert code == 0, err
    assert "its trainings are all in nets/of-arms; attacks take their time" in err
    first, second = (json.loads((profiled / f"{n}.json").read_text()) for n in ("first", "second"))
    assert [m["seconds"] for m in second["members"]] == [m["seconds"] for m in first["members"]]
    assert {m["best"]["n"] for m in second["members"]} == {32}
    code, _, err = run("verify", *options, "--trainings", "no/such/folder", "--out", "third.json")
    assert code == 1
    assert "the folder no/such/folder for trainings cannot be created" in err


def test_transfer_from_a_surrogate(profiled: Path, run: Run) -> None:
    options = (*QUICK, "--set", "arms=all,kept", "--suite", "transfer", "--trainings", "arms")
    code, _, err = run("verify", *options)
    assert code == 2
    assert "only the suite transfer has a surrogate, and it needs one" in err
    assert not (profiled / "arms").exists(), "before anything is trained"
    found = {}
    for number, parallel in ((0, "1"), (1, "1"), (1, "2")):
        surrogate = f"nets/digits.run{number}.pt"
        given = ("--surrogate", surrogate, "--parallel", parallel, "--force")
        code, out, err = run("verify", *options, *given)
        assert code == 0, err
        assert "by an upper bound of robust accuracy" in out
        record = json.loads((profiled / "verify.json").read_text())
        digest = hashlib.sha256((profiled / surrogate).read_bytes()).hexdigest()
        assert record["data"]["surrogate"] == {"file": surrogate[5:], "sha256": digest}
        assert (
            f"- surrogate {surrogate[5:]} (sha256 {digest[:16]}"
            in (profiled / "verify.md").read_text()
        )
        found[number, parallel] = timeless(record["members"])
    assert found[0, "1"] != found[1, "1"] == found[1, "2"]
    colours = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    np.savez("rgb.npz", images=colours, labels=np.arange(200) % 10)
    assert run("profile", "rgb.npz", *QUICK, "--set", "runs=1", "--checkpoints", "others")[0] == 0
    code, _, err = run("verify", *options, "--surrogate", "others/rgb.run0.pt", "--force")
    assert code == 1
    assert "is not for this data" in err


def test_two_halves_as_the_only_arms(profiled: Path, run: Run) -> None:
    prune = ("prune", "--balanced", "--keep", "50%", "--out")
    assert run(*prune, "f.npy")[0] == 0
    assert run(*prune, "p.npy", "--strategy", "problematic")[0] == 0
    halves = ("--arm", "friendly=f.npy", "--arm", "problematic=p.npy")
    code, out, err = run("verify", *halves, *QUICK, "--set", "seeds=2", "--set", "threads=1")
    assert code == 0, err
    assert "friendly against problematic: " in out
    assert "over 2 seeds on 64 examples" in out
    assert "- friendly against problematic: " in (profiled / "verify.md").read_text()
    record = json.loads((profiled / "verify.json").read_text())
    assert record["recipe"]["arms"] == ["friendly", "problematic"]
    assert record["arms"]["problematic"]["file"] == "p.npy"
    assert record["arms"]["problematic"]["selection"]["strategy"] == "problematic"
    assert [(m["arm"], m["seed"]) for m in record["members"]] == [
        (arm, seed) for seed in (0, 1) for arm in ("friendly", "problematic")
    ]

    code, _, err = run("verify", *halves, *QUICK, "--compare", "problematic:friendly:x")
    assert code == 1  # the first record is there
    assert "exists already" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--arm", "f.npy"), "does not say which arm"),
        (("--arm", "a=idx.npy", "--arm", "a=idx.npy"), "'a' is given twice"),
        (("--arm", "kept=idx.npy", "idx.npy"), "is that of the index file given first"),
        (("--arm", "all=idx.npy"), "'all' cannot be the name of an arm"),
        (("--arm", "a=none.npy"), "there is no index file none.npy"),
        (("--sweep", "keep=0.5", "--keep", "0.5"), "leave out --keep"),
        (("--sweep", "keep"), "has no values"),
        (("--sweep", "radius=4,8", "--expect", "better"), "no one verdict to expect"),
        (("--sweep", "radius=8,8"), "needs different values"),
        (("--suite", "costum"), "did you mean 'custom'"),
        (("digits",), "do not say how many examples are kept"),
        (("--out", "verify.md"), "the record cannot be verify.md"),
        (("--arm", "a=idx.npy", "--compare", "a:b"), "no arm to compare called 'b'"),
    ],
)
def test_bad_arms(profiled: Path, run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run("verify", *QUICK, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_sweep_of_what_published_ranks_keep(here: Path, run: Run) -> None:
    # The digits' ranks ship with the package: the same name means the same rows as for prune.
    assert run("prune", "digits", "--keep", "0.6", "--out", "idx.npy")[0] == 0
    sweep = ("--sweep", "keep=0.6,0.8", "--set", "arms=kept,random", "--set", "examples=8")
    code, out, err = run("verify", "digits", *sweep, *QUICK)
    assert code == 0, err
    assert "keep=0.8: kept against random: no detectable difference" in out
    table = json.loads((here / "verify.json").read_text())
    assert [point["value"] for point in table["points"]] == ["0.6", "0.8"]
    records = [json.loads((here / point["record"]).read_text()) for point in table["points"]]
    rows = np.load(here / "idx.npy").astype("<i8")
    given = [record["arms"]["kept"]["given_rows_sha256"] for record in records]
    assert given[0] == hashlib.sha256(rows.tobytes()).hexdigest() != given[1]
    assert records[0]["arms"]["kept"]["source"]["file"].startswith("digits")
    lines = (here / "verify.csv").read_text().splitlines()
    assert lines[0].startswith("keep,arm,at,examples,clean,clean_sd,")
    assert len(lines) == 1 + 2 * 2 * 2


def test_profile_in_json_and_again(here: Path, run: Run) -> None:
    code, out, _ = run("profile", "digits", *QUICK, "--set", "runs=1", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["examples"] == 1437
    assert result["agreement_of_runs"] is None
    before = (here / "digits.ranks.h5").read_bytes()
    code, _, err = run("profile", "digits", *QUICK)
    assert code == 1
    assert "exists already, with 1 finished runs" in err
    assert "--force" in err
    assert (here / "digits.ranks.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("profile", "cifar11"), 2, "did you mean 'cifar10'"),
        (("profile", "digits", "--recipe", "proxi"), 2, "did you mean 'proxy'"),
        (("profile", "digits", "--set", "epoch=2"), 2, "did you mean 'epochs'"),
        (("profile", "digits", "--set", "attack.radius=0"), 2, "out of range"),
        (("profile", "digits", "--set", "model.name=resnet"), 2, "there is no network"),
        (("profile", "digits", "--set", "device=cuda:7"), 2, "there is no device"),
        (("profile", "digits", "--out", "no/such.ranks.h5"), 1, "there is no directory"),
        (("profile", "digits", "--out", "/proc/x.ranks.h5"), 1, "/proc"),
        (("profile", "digits", "--data", "nowhere"), 1, "nowhere"),
        (("verify",), 2, "datacurate prune"),
        (("verify", "none.npy"), 2, "there is no index file none.npy"),
        (("evaluate", "none.pt", "digits"), 1, "there is no checkpoint"),
    ],
)
def test_bad_input_is_one_message(
    here: Path, run: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert said in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert list(here.iterdir()) == []


def test_rows_of_other_data_are_refused(profiled: Path, run: Run) -> None:
    # The same digits in another order: the row numbers mean other images.
    from datacurate.data import load

    train = load("digits").train
    order = np.random.default_rng(0).permutation(len(train))
    np.savez(profiled / "digits.npz", images=train.images[order], labels=train.labels[order])
    code, _, err = run("verify", *QUICK, "--data", "digits.npz")
    assert code == 1
    assert "were not made for this data: the same images in another order" in err
    assert not (profiled / "verify.json").exists()
    (profiled / "idx.npy.json").unlink()
    code, _, err = run("verify", *QUICK)
    assert code == 1
    assert "idx.npy.json" in err


def test_a_network_for_other_images_is_refused(profiled: Path, run: Run) -> None:
    chance = np.random.default_rng(0)
    np.savez(
        profiled / "mine.npz",
        images=chance.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
        labels=np.arange(40) % 4,
    )
    code, _, err = run("evaluate", "nets/digits.run0.pt", "mine.npz")
    assert code == 1
    assert "is not for this data" in err


def test_debug_shows_the_traceback(here: Path, run: Run) -> None:
    from datacurate.errors import UnknownNameError

    with pytest.raises(UnknownNameError):
        run("profile", "digits", "--recipe", "proxi", "--debug")
