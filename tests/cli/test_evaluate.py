"""Every option of `evaluate` reaches the attacks, and wrong options are refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from datacurate import profiling
from datacurate.attacks.settings import AttackSettings
from datacurate.data import load
from datacurate.evaluation import choose_examples, evaluate
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.training.checkpoints import load_network
from tests.cli.conftest import Run

SETTINGS = ["training.model.name=cnn-small", "width=4", "runs=2", "epochs=3"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the networks of two short runs on the digits."""
    directory = tmp_path_factory.mktemp("nets")
    recipe = with_settings(PROFILE_RECIPES["smoke"], SETTINGS)
    profiling.profile(recipe, load("digits"), directory / "d.ranks.h5", checkpoints=directory)
    return directory


@pytest.fixture
def nets(trained: Path, here: Path) -> tuple[str, str]:
    """Return the paths of the two networks from an empty current directory."""
    first, second = (os.path.relpath(trained / f"d.run{run}.pt") for run in (0, 1))
    return first, second


def net(path: str) -> nn.Module:
    return load_network(Path(path)).net


def expected(path: str, examples: int, **settings: Any) -> dict[str, Any]:
    """Return the library's result on the test examples that the command should choose."""
    test = load("digits").test
    content = test.identity.content_hash
    assert content is not None
    rows = choose_examples(content, examples)
    result = evaluate(net(path), test.images[rows], test.labels[rows], AttackSettings(**settings))
    return result.as_dict()


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "attacks": [{**attack, "seconds": 0} for attack in found["attacks"]]}


def without_files(found: dict[str, Any], checkpoint: str, surrogate: str | None) -> dict[str, Any]:
    """Return the printed result without its files, which must be the given ones."""
    for name, path in (("checkpoint", checkpoint), ("surrogate", surrogate)):
        digest = path and hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert found.pop(name) == (path and {"file": Path(path).name, "sha256": digest})
    return without_times(found)


@pytest.mark.parametrize("suite", ["standard", "custom", "fast", "pgd-10", "pgd-20", "pgd-1000"])
def test_every_suite_gives_the_result_of_the_library(
    nets: tuple[str, str], run: Run, suite: str
) -> None:
    options = ("--suite", suite, "--examples", "8", "--radius", "24", "--seed", "5", "--json")
    code, out, err = run("evaluate", nets[0], "digits", *options)
    assert code == 0, err
    found = json.loads(out)
    library = expected(nets[0], 8, suite=suite, radius_255=24, seed=5)
    assert without_files(found, nets[0], None) == without_times(library)
    assert (found["n"], found["seed"], found["radius_255"]) == (8, 5, pytest.approx(24))
    assert found["upper_bound"] == (suite not in ("standard", "custom"))
    assert f"{nets[0].rsplit('/')[-1]}: " in err  # progress


@pytest.mark.parametrize("suite", ["square", "rays"])
def test_suites_without_gradients(nets: tuple[str, str], run: Run, suite: str) -> None:
    options = ("--protocol", suite, "--examples", "8", "--radius", "24", "--json")
    code, out, err = run("evaluate", nets[0], "digits", *options)
    assert code == 0, err
    library = expected(nets[0], 8, suite=suite, radius_255=24)
    assert without_files(json.loads(out), nets[0], None) == without_times(library)
    assert json.loads(out)["attacks"][0]["name"] == suite


def test_the_package_attacks_instead_of_ours(nets: tuple[str, str], run: Run) -> None:
    options = ("--suite", "custom", "--examples", "8", "--radius", "24", "--json")
    code, out, err = run("evaluate", nets[0], "digits", *options, "--implementation", "package")
    assert code == 0, err
    found = json.loads(out)
    library = expected(nets[0], 8, suite="custom", radius_255=24, implementation="package")
    assert without_files(found, nets[0], None) == without_times(library)
    assert found["implementation"].startswith("pyautoattack ")


def test_transfer_is_from_the_surrogate(nets: tuple[str, str], run: Run) -> None:
    left = {}
    for surrogate in nets:
        options = ("--suite", "transfer", "--surrogate", surrogate, "--radius", "24", "--json")
        code, out, err = run("evaluate", nets[0], "digits", *options, "--examples", "60")
        assert code == 0, err
        library = expected(nets[0], 60, suite="transfer", radius_255=24, surrogate=net(surrogate))
        assert without_files(json.loads(out), nets[0], surrogate) == without_times(library)
        left[surrogate] = json.loads(out)["robust"]["correct"]
    # The network is attacked best with its own gradients.
    assert left[nets[0]] < left[nets[1]]


def test_without_options_it_is_autoattack_on_all_examples_at_8(
    nets: tuple[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load("digits").test
    few = slice(0, 12)
    np.savez(
        "few.npz",
        images=whole.images,
        labels=whole.labels,
        test_images=whole.images[few],
        test_labels=whole.labels[few],
    )
    code, out, err = run("evaluate", nets[0], "few.npz")
    assert code == 0, err
    assert ": 12 test examples, radius 8/255, seed 0, datacurate searches " in out
    assert "AutoAttack standard (APGD-CE, APGD-T, FAB-T, Square)" in out
    assert "upper bound" not in out
    again = run("evaluate", nets[0], "digits", "--data", "few.npz", "--examples", "0")
    assert again[:2] == (0, out)


def test_no_radius_breaks_nothing_and_a_large_one_all(nets: tuple[str, str], run: Run) -> None:
    right = []
    for radius in ("0.001", "255"):
        options = ("--suite", "custom", "--radius", radius, "--json")
        found = json.loads(run("evaluate", nets[0], "digits", *options)[1])
        assert found["n"] == len(load("digits").test)
        right.append((found["clean"]["correct"], found["robust"]["correct"]))
    assert right[0][0] == right[0][1] == right[1][0] > 100
    assert right[1][1] == 0


def test_an_upper_bound_says_so(nets: tuple[str, str], run: Run) -> None:
    options = ("--suite", "fast", "--examples", "20", "--radius", "2")
    code, out, err = run("evaluate", nets[0], "digits", *options)
    assert code == 0, err
    library = expected(nets[0], 20, suite="fast", radius_255=2)
    low, high = library["robust"]["interval95"]
    assert f"{library['robust']['percent']:6.2f} %  [{low:.2f}, {high:.2f}]" in out
    assert "an upper bound: the robust accuracy under AutoAttack may be lower" in out
    assert f"after nearest      {library['attacks'][-1]['correct_after']:,} correct" in out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--suite", "costum"), 2, "costum"),
        (("--radius", "0"), 2, "--radius"),
        (("--examples", "-1"), 2, "--examples"),
        (("--seed", "-1"), 2, "--seed"),
        (("--suite", "transfer"), 2, "only the suite transfer has a surrogate"),
        (("--surrogate", "none.pt"), 2, "only the suite transfer has a surrogate"),
        (("--suite", "transfer", "--surrogate", "none.pt"), 1, "there is no checkpoint none.pt"),
        (("--data", "nowhere"), 1, "nowhere"),
        (("--implementation", "theirs"), 2, "theirs"),
        (("--suite", "rays", "--implementation", "package"), 2, "does not have"),
    ],
)
def test_wrong_options_are_refused(
    nets: tuple[str, str], run: Run, options: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = run("evaluate", nets[0], "digits", *options)
    assert (got, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_a_surrogate_for_other_images_is_refused(nets: tuple[str, str], run: Run) -> None:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez("mine.npz", images=pictures, labels=np.arange(40) % 4)
    recipe = with_settings(PROFILE_RECIPES["smoke"], [*SETTINGS, "runs=1", "epochs=1"])
    profiling.profile(recipe, load("mine.npz"), Path("m.ranks.h5"), checkpoints=Path("."))
    options = ("--suite", "transfer", "--surrogate", "m.run0.pt")
    code, _, err = run("evaluate", nets[0], "digits", *options)
    assert code == 1
    assert "the network in m.run0.pt is not for this data" in err
