from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from datacurate.attacks.outcome import AttackState
from datacurate.attacks.settings import AttackSettings
from datacurate.evaluation import choose_examples, evaluate
from datacurate.fingerprints import content_hashes
from datacurate.recipes import Execution
from datacurate.recipes.fields import DType
from datacurate.training import devices

Examples = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class TwoClasses(nn.Module):
    """Two classes: mean pixel below or above one half."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        brightness = self.sharpness * (x.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([-brightness, brightness], dim=1)


@pytest.fixture(scope="module")
def grey() -> Examples:
    """Return images of a single brightness each, whose distance to the boundary is known."""
    levels = np.arange(100, 156, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (56, 4, 4, 1)).copy()
    return images, (levels > 127).astype(np.int64)


def test_accuracies_are_the_exact_ones(grey: Examples) -> None:
    images, labels = grey
    labels = labels.copy()
    labels[:6] = 1  # clean mistakes, far from the boundary
    levels = np.arange(100, 156)
    seen: set[str] = set()
    result = evaluate(
        TwoClasses(),
        images,
        labels,
        AttackSettings(radius_255=8, suite="custom", batch_size=20),
        progress=lambda attack, done, total: seen.add(attack),
    )
    assert (result.clean.correct, len(result)) == (50, 56)
    # The boundary is at 127.5: eight levels darken 135 past it, and lighten 120.
    robust = (levels >= 136) | (levels <= 119)
    robust[:6] = False
    assert np.array_equal(result.outcome.robust, robust)
    assert np.array_equal(result.pgd10, robust)
    assert result.overestimation_gap == 0
    assert seen == {"apgd-ce", "pgd-10"}
    assert "no APGD-T" in result.outcome.label


def test_colour_images_and_many_classes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6))
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        labels = model(x).argmax(dim=1).numpy()
    result = evaluate(
        model,
        images,
        labels,
        AttackSettings(radius_255=2, suite="custom", steps={"apgd-ce": 20, "apgd-t": 20}),
    )
    assert result.outcome.attacks == ("apgd-ce", "apgd-t")
    assert result.clean.correct == 24
    assert 0 < result.robust.correct <= result.pgd.correct < 24


def test_the_dictionary_is_json_and_names_what_it_depends_on(grey: Examples) -> None:
    result = evaluate(TwoClasses(), *grey, AttackSettings(suite="custom"))
    found = json.loads(json.dumps(result.as_dict()))
    low, high = found["clean"]["interval95"]
    wilson = stats.binomtest(56, 56).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((100 * wilson.low, 100 * wilson.high))
    assert found["n"] == 56
    assert found["radius_255"] == pytest.approx(8)
    assert found["attacks"][0]["correct_after"] == found["autoattack"]["correct"]
    assert found["implementation"].startswith("datacurate searches ")
    assert found["robust"] == found["autoattack"]
    # Every survivor got all 100 steps, each with a gradient, and one more forward pass.
    spent = {"steps": [100, 100], "forwards": [101, 101], "gradients": [100, 100]}
    assert found["attacks"][0]["spent_on_survivors"] == spent
    assert {"seed", "device", "torch", "label", "warnings", "unconfirmed"} <= set(found)


class Staircase(TwoClasses):
    """The same for quantised pixels: its gradients are zero almost everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.round(x * 32) / 32)


@pytest.mark.parametrize("suite", ["square", "rays", "transfer"])
def test_attacks_without_gradients_warn_of_masked_gradients(grey: Examples, suite: str) -> None:
    settings = AttackSettings(
        suite=suite,
        surrogate=TwoClasses() if suite == "transfer" else None,
        steps={"square": 200, "rays": 200},
    )
    plain, masked = (evaluate(model, *grey, settings) for model in (TwoClasses(), Staircase()))
    assert plain.warnings == ()
    assert masked.pgd.percent == masked.clean.percent
    assert masked.robust.percent < masked.pgd.percent - 10
    (warning,) = masked.warnings
    assert "may mask its gradients" in warning
    assert masked.as_dict()["warnings"] == [warning]


def test_resumes(grey: Examples) -> None:
    states: list[AttackState] = []
    settings = AttackSettings(suite="custom")
    whole = evaluate(TwoClasses(), *grey, settings, save=states.append)
    resumed = evaluate(TwoClasses(), *grey, settings, state=states[0])
    assert np.array_equal(resumed.outcome.broken_by, whole.outcome.broken_by)
    assert resumed.outcome.seconds == whole.outcome.seconds
    # After the end, nothing is attacked again.
    calls: list[Any] = []
    ended: AttackState = json.loads(json.dumps(states[-1]))
    again = evaluate(
        TwoClasses(), *grey, settings, state=ended, progress=lambda *call: calls.append(call)
    )
    assert again.as_dict() == whole.as_dict()
    assert np.array_equal(again.pgd10, whole.pgd10)
    assert calls == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_the_search_is_in_the_requested_dtype(grey: Examples, dtype: DType) -> None:
    settings = AttackSettings(suite="pgd-10", dtype=dtype)
    result = evaluate(TwoClasses(), *grey, settings)
    fastest = devices.resolve(Execution(device="cpu", kernels="eager")).dtype
    expected = fastest if dtype == "auto" else dtype
    assert result.outcome.implementation.endswith(expected)


def test_the_same_images_are_chosen_in_any_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3), dtype=np.uint8)
    hashes = content_hashes(images)
    chosen = choose_examples(hashes, 50)
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == 50
    assert np.array_equal(chosen, np.sort(chosen))
    shuffled = np.random.default_rng(1).permutation(200)
    again = choose_examples(hashes[shuffled], 50)
    assert set(shuffled[again].tolist()) == set(chosen.tolist())
    assert set(choose_examples(hashes, 20).tolist()) <= set(chosen.tolist())
    for everything in (0, 200, 1000):
        assert np.array_equal(choose_examples(hashes, everything), np.arange(200))
