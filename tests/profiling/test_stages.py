"""What a profile measures when: the last network under attack, and recipes that do not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from datacurate import profiling
from datacurate.data import load
from datacurate.errors import RecipeError
from datacurate.formats import rankfile
from datacurate.formats.checking import check
from datacurate.profiling.stages import check_measures, measure_at_end
from datacurate.recipes import PROFILE_RECIPES, Attack, Training, with_settings
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import fit
from tests.training.conftest import EXECUTION


def test_the_final_probability_is_that_of_the_last_network_under_the_attack(
    training: Training, digits: TrainingData, tmp_path: Path
) -> None:
    recipe = replace(
        PROFILE_RECIPES["proxy"],
        training=training,
        execution=EXECUTION,
        final_attack=Attack(radius=24.0, step=10.0, steps=3, start="zero"),
    )
    made = fit(training, EXECUTION, digits, 3, tmp_path / "state.pt")
    found = measure_at_end(recipe, made, digits, tmp_path / "measures.pt")["final_probability"]

    net = initial_network(training, digits, 0)
    net.load_state_dict(made.last)
    net.eval()
    images = torch.from_numpy(digits.images[digits.rows]).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(digits.labels[digits.rows])
    x = images.clone()
    for _ in range(3):
        x.requires_grad_()
        functional.cross_entropy(net(x), labels, reduction="sum").backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        x = (x.detach() + 10 / 255 * x.grad.sign()).clamp(images - 24 / 255, images + 24 / 255)
        x = x.clamp(0, 1)
    expected = net(x).softmax(1)[torch.arange(len(labels)), labels].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-4)
    clean = net(images).softmax(1)[torch.arange(len(labels)), labels].detach().numpy()
    assert (found < clean - 1e-3).mean() > 0.9  # the attack is felt


def test_the_proxy_ranks_by_what_it_measured_after_the_first_epochs(tmp_path: Path) -> None:
    recipe = with_settings(
        PROFILE_RECIPES["proxy"],
        ["width=4", "epochs=2", "kernels=eager", "dtype=float32", "selection.examples=40"],
    )
    out = tmp_path / "digits.ranks.h5"
    made = profiling.profile(recipe, load("digits"), out)
    assert {"late_probability", "final_probability"} <= set(made.columns)
    assert rankfile.read(out).provenance.rank_by == (
        "instability",
        "late_probability",
        "final_probability",
    )
    assert all(item.ok for item in check(out))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["measures=final_probability"], "ranks by a column that it does not measure"),
        (["rank_by="], "ranks by a column that it does not measure"),
        (["aggregate=pooled"], "only counts of epochs can be pooled"),
        (["measures=late_probability,final_probability,el2n"], "standard training"),
    ],
)
def test_recipes_that_cannot_be_followed(settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check_measures(with_settings(PROFILE_RECIPES["proxy"], settings))
    assert check_measures(with_settings(PROFILE_RECIPES["proxy"], ["rank_by=margin", "measures="]))
