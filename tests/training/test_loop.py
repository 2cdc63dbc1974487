"""The loop: the same bits whether interrupted or not, and figures that hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datacurate.data.batches import augment_batch
from datacurate.errors import CheckpointError, TrainingError
from datacurate.ranks.scores import correct_epochs
from datacurate.recipes import Augmentation, Execution, Model, Optimizer, Training
from datacurate.training.examples import TrainingData, pixel_statistics
from datacurate.training.history import EpochReport
from datacurate.training.loop import Fit, fit
from tests.training.conftest import EXECUTION


class Stop(Exception):
    """Raised by a watcher to end a training in the middle."""


def assert_same(a: Fit, b: Fit) -> None:
    assert np.array_equal(a.record.correct, b.record.correct)
    assert np.array_equal(a.record.probability, b.record.probability)
    assert np.array_equal(a.record.margin, b.record.margin)
    for x, y in ((a.best, b.best), (a.last, b.last)):
        assert x.keys() == y.keys()
        assert all(torch.equal(x[key], y[key]) for key in x)
    assert a.best_epoch == b.best_epoch
    timeless = [replace(r, seconds=0, examples_per_second=0) for r in a.history]
    assert timeless == [replace(r, seconds=0, examples_per_second=0) for r in b.history]


@pytest.fixture(scope="module")
def uninterrupted(
    training: Training, digits: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Fit:
    return fit(training, EXECUTION, digits, 3, tmp_path_factory.mktemp("fit") / "state.pt")


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_interrupted_at_any_epoch_it_ends_the_same(
    training: Training, digits: TrainingData, uninterrupted: Fit, tmp_path: Path, stop_after: int
) -> None:
    def stop(history: list[EpochReport]) -> None:
        if len(history) == stop_after:
            raise Stop

    state = tmp_path / "state.pt"
    with pytest.raises(Stop):
        fit(training, EXECUTION, digits, 3, state, stop)
    seen: list[int] = []
    resumed = fit(training, EXECUTION, digits, 3, state, lambda h: seen.append(len(h)))
    assert seen == list(range(stop_after + 1, training.epochs + 1))
    assert_same(resumed, uninterrupted)


def test_the_global_generator_and_threads_play_no_part(
    training: Training, digits: TrainingData, uninterrupted: Fit, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    again = fit(training, EXECUTION, digits, 3, tmp_path / "state.pt")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert_same(again, uninterrupted)


def test_memorising_is_training_without_augmentation_and_weight_decay(
    training: Training, digits: TrainingData, uninterrupted: Fit, tmp_path: Path
) -> None:
    bare = replace(
        training,
        augmentation=Augmentation(0, False),
        optimizer=replace(training.optimizer, weight_decay=0.0),
    )
    whole = fit(replace(training, memorization=1.0), EXECUTION, digits, 3, tmp_path / "whole.pt")
    assert_same(whole, fit(bare, EXECUTION, digits, 3, tmp_path / "bare.pt"))

    half = fit(replace(training, memorization=0.5), EXECUTION, digits, 3, tmp_path / "half.pt")
    losses, plain = ([report.loss for report in each.history] for each in (half, uninterrupted))
    assert losses[:2] == plain[:2]
    assert losses[2] != plain[2]


def test_another_seed_is_another_training(
    training: Training, digits: TrainingData, uninterrupted: Fit, tmp_path: Path
) -> None:
    other = fit(training, EXECUTION, digits, 4, tmp_path / "state.pt")
    assert not np.array_equal(other.record.probability, uninterrupted.record.probability)


def test_reports_agree_with_the_record(uninterrupted: Fit, digits: TrainingData) -> None:
    counted = correct_epochs(uninterrupted.record.correct).sum()
    assert sum(r.train_robust for r in uninterrupted.history) * len(digits.rows) == pytest.approx(
        counted
    )
    # Evaluated every second epoch and at the last; the best is the first of the highest.
    assert [r.robust is not None for r in uninterrupted.history] == [False, True, False, True]
    best = max(r.robust for r in uninterrupted.history if r.robust is not None)
    assert uninterrupted.at(uninterrupted.best_epoch).robust == best


@pytest.mark.parametrize(("examples", "batch"), [(65, 64), (7, 128), (66, 13), (3, 2)])
def test_any_number_of_examples_and_batch_size(
    training: Training, digits: TrainingData, tmp_path: Path, examples: int, batch: int
) -> None:
    few = replace(digits, rows=digits.rows[:examples])
    short = replace(training, epochs=2, optimizer=replace(training.optimizer, batch_size=batch))
    found = fit(short, EXECUTION, few, 0, tmp_path / "state.pt")
    assert found.record.correct.shape == (examples, 1)
    assert all(np.isfinite(value).all() for value in (found.record.margin,))


def test_bfloat16_trains_too(training: Training, digits: TrainingData, tmp_path: Path) -> None:
    execution = Execution(device="cpu", dtype="bfloat16", threads=1)
    found = fit(replace(training, epochs=8), execution, digits, 3, tmp_path / "state.pt")
    assert found.history[-1].train_robust > 2 * found.history[0].train_robust
    assert all(value.dtype != torch.bfloat16 for value in found.last.values())


def test_divergence_is_said_and_the_last_good_state_stays(
    training: Training, digits: TrainingData, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    wild = replace(
        training,
        epochs=40,
        optimizer=Optimizer(learning_rate=1e20, schedule="steps", milestones=()),
    )
    with pytest.raises(TrainingError, match="not finite in epoch"):
        fit(wild, EXECUTION, digits, 0, state)
    if state.exists():
        saved = torch.load(state, weights_only=True)
        assert np.isfinite(saved["history"][-1]["loss"])


def test_out_of_memory_says_which_batch_size_to_try(
    training: Training, digits: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.pt"

    def stop(history: list[EpochReport]) -> None:
        raise Stop

    with pytest.raises(Stop):
        fit(training, EXECUTION, digits, 0, state, stop)
    before = state.read_bytes()
    crop = augment_batch

    def greedy(*arguments: Any) -> torch.Tensor:
        torch.empty(10**15)  # four petabytes: torch's own error
        return crop(*arguments)

    monkeypatch.setattr("datacurate.training.loop.augment_batch", greedy)
    with pytest.raises(TrainingError, match="cpu ran out of memory at batch size 128") as caught:
        fit(training, EXECUTION, digits, 0, state)
    assert "--set batch_size=64" in str(caught.value)
    assert state.read_bytes() == before

    def faulty(*arguments: Any) -> torch.Tensor:
        raise RuntimeError("another fault")

    monkeypatch.setattr("datacurate.training.loop.augment_batch", faulty)
    with pytest.raises(RuntimeError, match="another fault"):
        fit(training, EXECUTION, digits, 0, state)


def test_a_state_that_does_not_fit_is_refused(
    training: Training, digits: TrainingData, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    fit(replace(training, epochs=2), EXECUTION, digits, 0, state)
    for other in (
        replace(training, model=Model("preact-small", width=6)),
        replace(training, epochs=3),
    ):
        with pytest.raises(CheckpointError, match="does not fit this training") as caught:
            fit(other, EXECUTION, digits, 0, state)
        assert "--force" in str(caught.value)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        fit(training, EXECUTION, digits, 0, state)


def test_pixel_statistics_are_those_of_numpy(digits: TrainingData) -> None:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    mean, std = pixel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)))
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)))
    assert pixel_statistics(np.full((2, 4, 4, 1), 7, np.uint8))[1] == (1.0,)
