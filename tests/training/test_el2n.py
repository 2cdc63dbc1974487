"""EL2N within a profile of standard training, and clean forgetting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from datacurate import profiling
from datacurate.data import DataSet, load
from datacurate.errors import RecipeError
from datacurate.fingerprints import columns_sha256
from datacurate.formats import rankfile
from datacurate.formats.checking import check
from datacurate.formats.ordering import rank_by
from datacurate.profiling.estimates import passes_of_measures
from datacurate.profiling.stages import check_measures
from datacurate.pruning import prune
from datacurate.ranks.scores import unpack
from datacurate.recipes import PROFILE_RECIPES, with_settings
from datacurate.training.checkpoints import rebuild_network
from datacurate.training.loop import fit
from datacurate.training.planning import training_data

RECIPE = with_settings(
    PROFILE_RECIPES["smoke"],
    [
        "method=standard",
        "measures=clean_probability,el2n",
        "el2n_epoch=2",
        "training.model.name=cnn-small",
        "width=4",
        "runs=2",
        "epochs=4",
        "every=4",
        # The rate does not depend on how long the training is.
        "schedule=steps",
        "milestones=",
        "execution.dtype=float32",
    ],
)


@pytest.fixture(scope="module")
def data() -> DataSet:
    """A hundred and thirty digits to train on, a few with wrong labels."""
    whole = load("digits")
    labels = whole.train.labels.copy()
    labels[:8] = (labels[:8] + 3) % 10
    return replace(
        whole,
        train=replace(whole.train, labels=labels),
        borrowed=np.arange(130, len(whole.train)),
    )


def test_it_is_the_mean_error_of_the_networks_of_that_epoch(data: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "whole.ranks.h5"
    made = profiling.profile(RECIPE, data, out)
    # A training that ends there has the network that the longer one passes through.
    full = profiling.plan(RECIPE, data, tmp_path / "plan.ranks.h5").recipe
    short = replace(full.training, epochs=2)
    trained_on = training_data(data)
    x = (data.train.images[:130] / 255).astype(np.float32)
    one_hot = np.eye(10)[data.train.labels[:130]]
    norms = []
    for seed in (0, 1):
        done = fit(short, full.execution, trained_on, seed, tmp_path / f"{seed}.pt")
        net = rebuild_network(done.last, short.model, 10, x.shape[3])
        with torch.no_grad():
            logits = net(torch.from_numpy(x).permute(0, 3, 1, 2)).double().numpy()
        norms.append(np.linalg.norm(softmax(logits, axis=1) - one_hot, axis=1))
    for run in (0, 1):
        np.testing.assert_allclose(made.columns["error_norm"][:130, run], norms[run], rtol=1e-3)
    np.testing.assert_allclose(made.columns["el2n"][:130], np.mean(norms, axis=0), rtol=1e-3)
    assert np.isnan(made.columns["el2n"][130:]).all()

    results = {item.name: item.ok for item in check(out)}
    assert results["el2n from error_norm"]
    assert all(results.values())
    kept = prune(rankfile.read(out), 100, by="el2n").kept
    dropped = np.setdiff1d(np.arange(130), kept)
    assert made.columns["el2n"][kept].max() <= made.columns["el2n"][dropped].min()

    # Killed before, at or after that epoch, it ends the same; so it does beside another run.
    for stop_at in (1, 2, 3):
        again = tmp_path / f"{stop_at}.ranks.h5"

        def stop(progress: profiling.ProfileProgress, stop_at: int = stop_at) -> None:
            if progress.report.epoch == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            profiling.profile(RECIPE, data, again, on_epoch=stop)
        resumed = profiling.profile(RECIPE, data, again, parallel=2 if stop_at == 1 else 1)
        assert columns_sha256(dict(resumed.columns)) == columns_sha256(dict(made.columns))


def test_clean_forgetting_tells_the_never_learned_from_the_never_forgotten(
    data: DataSet, tmp_path: Path
) -> None:
    brief = with_settings(RECIPE, ["measures=", "runs=1", "learning_rate=0.02"])
    made = profiling.profile(brief, data, tmp_path / "digits.ranks.h5")
    right = unpack(np.ascontiguousarray(made.columns["correct"][:130, 0]), 4)
    forgetting = made.columns["forgetting"][:130, 0]
    never = ~right.any(axis=1)
    assert 0 < never.sum() < 130
    counted = (right[:, :-1] & ~right[:, 1:]).sum(axis=1)
    assert np.array_equal(forgetting, np.where(never, -1, counted))
    assert (forgetting == 0).any()
    # In an order by forgetting they come last of all.
    last = rank_by(made, "forgetting").order[-int(never.sum()) :]
    assert set(last.tolist()) == set(np.flatnonzero(never).tolist())


def test_adversarial_training_has_none(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="EL2N is defined for standard training") as caught:
        profiling.profile(
            with_settings(RECIPE, ["method=pgd-at"]), data, tmp_path / "digits.ranks.h5"
        )
    assert "--set training.method=standard" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_epoch_is_the_last_of_a_shorter_training() -> None:
    assert check_measures(with_settings(RECIPE, ["el2n_epoch=20"])).el2n_epoch == 4
    assert check_measures(RECIPE).el2n_epoch == 2


@pytest.mark.parametrize(
    ("measures", "passes"),
    [
        ("", 0),
        ("clean_probability", 1),
        ("el2n", 1),
        ("clean_probability,el2n", 2),
        ("clean_probability,minimum_perturbation", 1 + 2 * 32),
    ],
)
def test_passes_are_counted(measures: str, passes: int) -> None:
    assert passes_of_measures(with_settings(RECIPE, [f"measures={measures}"])) == passes
