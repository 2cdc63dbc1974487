"""The record: equal to a recomputation from stored logits, each example once an epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from datacurate.errors import TrainingError
from datacurate.ranks.scores import unpack
from datacurate.training.record import Record

CPU = torch.device("cpu")


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 17), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_the_record_equals_a_recomputation_from_stored_logits(
    examples: int, epochs: int, batch: int, classes: int
) -> None:
    chance = np.random.default_rng(examples * 1000 + epochs)
    logits = chance.normal(size=(epochs, examples, classes)).astype(np.float32)
    labels = chance.integers(0, classes, examples)
    record = Record(examples, epochs, CPU)
    for epoch in range(epochs):
        order = chance.permutation(examples)
        right = 0
        for start in range(0, examples, batch):
            places = order[start : start + batch]
            right += record.add(
                places,
                epoch,
                torch.from_numpy(logits[epoch, places]),
                torch.from_numpy(labels[places]),
            )
        record.close_epoch(epoch)
        assert right == (logits[epoch].argmax(1) == labels).sum()
    found = record.finished()

    rows = np.arange(examples)
    assert np.array_equal(unpack(found.correct, epochs), (logits.argmax(2) == labels).T)
    probability = softmax(logits.astype(np.float64), axis=2)[:, rows, labels]
    np.testing.assert_allclose(found.probability, probability.mean(0), rtol=1e-5)
    # Of five epochs the last three are the second half; of one epoch it is that one.
    late = probability[-((epochs + 1) // 2) :].mean(0)
    np.testing.assert_allclose(found.measures["late_probability"], late, rtol=1e-5)
    others = logits.copy()
    others[:, rows, labels] = -np.inf
    margin = (logits[:, rows, labels] - others.max(2)).astype(np.float64).mean(0)
    np.testing.assert_allclose(found.margin, margin, rtol=1e-5, atol=1e-6)


def test_an_example_left_out_or_counted_twice_is_an_error() -> None:
    labels = torch.zeros(2, dtype=torch.int64)
    for places in ([0, 1], [0, 1, 1, 2]):
        record = Record(3, 2, CPU)
        for place in places:
            record.add(np.array([place]), 0, torch.randn(1, 4), labels[:1])
        with pytest.raises(TrainingError, match="not counted exactly once"):
            record.close_epoch(0)


def test_state_goes_on_where_it_stopped() -> None:
    labels = torch.tensor([0, 1, 2])
    logits = torch.randn(4, 3, 5)
    whole, first, second = (Record(3, 4, CPU) for _ in range(3))
    for epoch in range(4):
        whole.add(np.arange(3), epoch, logits[epoch], labels)
        (first if epoch < 2 else second).add(np.arange(3), epoch, logits[epoch], labels)
        if epoch == 1:
            second.load_state_dict(first.state_dict())
    second.close_epoch(3)
    a, b = whole.finished(), second.finished()
    assert np.array_equal(a.correct, b.correct)
    assert np.array_equal(a.margin, b.margin)
    assert np.array_equal(a.measures["late_probability"], b.measures["late_probability"])
