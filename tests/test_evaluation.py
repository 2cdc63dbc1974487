from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from datacurate.attacks import suites
from datacurate.evaluation import choose_examples, evaluate
from datacurate.fingerprints import content_hashes
from datacurate.training import devices


class TwoClasses(nn.Module):
    """The sign of the mean pixel's distance from one half."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        brightness = self.sharpness * (x.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([-brightness, brightness], dim=1)


@pytest.fixture(scope="module")
def grey():
    """Return images of one brightness each, so that the distance to the boundary is known."""
    levels = np.arange(100, 156, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (56, 4, 4, 1)).copy()
    return images, (levels > 127).astype(np.int64)


def test_accuracies_are_the_exact_ones(grey):
    images, labels = grey
    labels = labels.copy()
    labels[:6] = 1  # clean mistakes, far from the boundary
    levels = np.arange(100, 156)
    seen = set()
    result = evaluate(
        TwoClasses(),
        images,
        labels,
        radius_255=8,
        suite="custom",
        batch_size=20,
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


def test_colour_images_and_many_classes(monkeypatch):
    monkeypatch.setattr(suites, "_ITERATIONS", 20)
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6))
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        labels = model(x).argmax(dim=1).numpy()
    result = evaluate(model, images, labels, radius_255=2, suite="custom")
    assert result.outcome.attacks == ("apgd-ce", "apgd-t")
    assert result.clean.correct == 24
    assert 0 < result.robust.correct <= result.pgd.correct < 24


def test_dictionary_is_json_and_names_what_it_rests_on(grey):
    found = json.loads(json.dumps(evaluate(TwoClasses(), *grey, suite="custom").as_dict()))
    low, high = found["clean"]["interval95"]
    wilson = stats.binomtest(56, 56).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((100 * wilson.low, 100 * wilson.high))
    assert found["n"] == 56
    assert found["radius_255"] == pytest.approx(8)
    assert found["attacks"][0]["correct_after"] == found["autoattack"]["correct"]
    assert found["implementation"].startswith("datacurate searches ")
    assert found["robust"] == found["autoattack"]
    # A hundred steps, a forward pass more than gradients: nothing was skipped on a survivor.
    spent = {"steps": [100, 100], "forwards": [101, 101], "gradients": [100, 100]}
    assert found["attacks"][0]["spent_on_survivors"] == spent
    assert {"seed", "device", "torch", "label", "warnings", "unconfirmed"} <= set(found)


class Staircase(TwoClasses):
    """The same, behind a staircase: its gradients are zero almost everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.round(x * 32) / 32)


@pytest.mark.parametrize("suite", ["square", "rays", "transfer"])
def test_attacks_without_gradients_tell_of_masked_ones(grey, suite, monkeypatch):
    monkeypatch.setattr(suites, "_QUERIES", 200)
    monkeypatch.setattr(suites, "_LABEL_QUERIES", 200)
    found = {}
    for model in (TwoClasses(), Staircase()):
        surrogate = TwoClasses() if suite == "transfer" else None
        found[type(model)] = evaluate(model, *grey, suite=suite, surrogate=surrogate)
    plain, masked = found[TwoClasses], found[Staircase]
    assert plain.warnings == ()
    assert masked.pgd.percent == masked.clean.percent
    assert masked.robust.percent < masked.pgd.percent - 10
    (warning,) = masked.warnings
    assert "may mask its gradients" in warning
    assert masked.as_dict()["warnings"] == [warning]


def test_resumes(grey):
    states = []
    settings = {"suite": "custom"}
    whole = evaluate(TwoClasses(), *grey, save=states.append, **settings)
    resumed = evaluate(TwoClasses(), *grey, state=states[0], **settings)
    assert np.array_equal(resumed.outcome.broken_by, whole.outcome.broken_by)
    assert resumed.outcome.seconds == whole.outcome.seconds
    # Ended, it attacks nothing again.
    attacked = []
    ended = json.loads(json.dumps(states[-1]))
    again = evaluate(
        TwoClasses(), *grey, state=ended, progress=lambda *done: attacked.append(done), **settings
    )
    assert again.as_dict() == whole.as_dict()
    assert np.array_equal(again.pgd10, whole.pgd10)
    assert attacked == []


def test_searches_are_in_the_type_asked_for(grey, monkeypatch):
    monkeypatch.setattr(devices, "_faster_in_bfloat16", lambda device: True)
    for dtype, found in (("float32", "float32"), ("bfloat16", "bfloat16"), ("auto", "bfloat16")):
        result = evaluate(TwoClasses(), *grey, suite="pgd-10", dtype=dtype)
        assert result.outcome.implementation.endswith(found)


def test_the_same_images_are_chosen_in_any_order():
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
