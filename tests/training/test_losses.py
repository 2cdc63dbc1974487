"""Losses: equal to formulas written independently in numpy and scipy, on random logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax

from datacurate.training import losses

F64 = npt.NDArray[np.float64]


def made(seed: int, classes: int) -> tuple[F64, F64, npt.NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    clean, adversarial = chance.normal(scale=3, size=(2, 9, classes))
    return clean, adversarial, chance.integers(0, classes, 9)


Triple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def torched(*values: npt.NDArray[np.generic]) -> list[torch.Tensor]:
    return [torch.from_numpy(value) for value in values]


def triple(clean: F64, adversarial: F64, y: npt.NDArray[np.int64]) -> Triple:
    return torch.from_numpy(clean), torch.from_numpy(adversarial), torch.from_numpy(y)


problems = st.tuples(st.integers(0, 10_000), st.integers(2, 12), st.floats(0, 10))


@given(problems)
@settings(max_examples=50, deadline=None)
def test_trades(problem: tuple[int, int, float]) -> None:
    seed, classes, beta = problem
    clean, adversarial, y = made(seed, classes)
    p, q = softmax(clean, axis=1), softmax(adversarial, axis=1)
    natural = -np.log(p[np.arange(9), y]).mean()
    expected = natural + beta * rel_entr(p, q).sum(axis=1).mean()
    found = losses.trades_loss(*triple(clean, adversarial, y), beta)
    assert float(found) == pytest.approx(expected, rel=1e-9)


@given(problems)
@settings(max_examples=50, deadline=None)
def test_mart(problem: tuple[int, int, float]) -> None:
    seed, classes, weight = problem
    clean, adversarial, y = made(seed, classes)
    p, q = softmax(clean, axis=1), softmax(adversarial, axis=1)
    total = 0.0
    for row, label in enumerate(y):
        wrong = max(q[row, k] for k in range(classes) if k != label)
        boosted = -np.log(q[row, label]) - np.log1p(-wrong)
        total += boosted + weight * rel_entr(p[row], q[row]).sum() * (1 - p[row, label])
    found = losses.mart_loss(*triple(clean, adversarial, y), weight)
    assert float(found) == pytest.approx(total / 9, rel=1e-8)


def test_the_boosted_term_is_finite_where_a_wrong_class_takes_all() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    loss = losses.boosted_cross_entropy(logits, torch.tensor([1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(400 - np.log(2), rel=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@given(st.lists(st.integers(0, 10), min_size=1, max_size=30), st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_gairat_weights(kappa: list[int], offset: float) -> None:
    raw = [(1 + np.tanh(offset + 5 * (1 - 2 * k / 10))) / 2 for k in kappa]
    expected = np.array(raw) / np.mean(raw)
    found = losses.gairat_weights(torch.tensor(kappa), 10, offset).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert found.mean() == pytest.approx(1, rel=1e-4)


def test_gairat_weighs_examples_near_the_boundary_most() -> None:
    weights = losses.gairat_weights(torch.arange(11), 10, 0.0)
    assert (weights.diff() < 0).all()


def test_the_gradients_flow_through_the_clean_probabilities() -> None:
    clean, adversarial, y = torched(*made(1, 5))
    for loss in (losses.trades_loss, losses.mart_loss):
        a, b = clean.clone().requires_grad_(), adversarial.clone().requires_grad_()
        with_term, without = (
            torch.autograd.grad(loss(a, b, y, weight), a, allow_unused=True)[0]
            for weight in (6.0, 0.0)
        )
        assert not torch.allclose(with_term, torch.zeros_like(a) if without is None else without)
