from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.rays import rays_attack
from datacurate.attacks.square import square, square_side
from datacurate.attacks.window_forward import FullForward
from tests.attacks.models import Linear, clear_images, coarse_linear, linear, plain


def test_sides_of_squares_follow_the_schedule() -> None:
    # p from 0.8, halved after 10, 50, 200, 500, 1000, 2000 and 4000 queries; 32×32 pixels.
    for query, halvings in ((0, 0), (10, 0), (11, 1), (51, 2), (1001, 5), (4001, 7)):
        expected = round(math.sqrt(0.8 / 2**halvings * 1024))
        assert square_side(query, 32, 32) == expected
    assert square_side(4999, 4, 4) == 1


def brute_force_margin(model: Linear, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Return the smallest margin over every corner of the ball of a tiny image."""
    lower, upper = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    smallest = torch.full((len(x),), torch.inf)
    for corner in itertools.product((False, True), repeat=x[0].numel()):
        image = torch.where(torch.tensor(corner).view(x.shape[1:]), upper, lower)
        logits = model(image)
        others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
        smallest = torch.minimum(smallest, logits.gather(1, y[:, None])[:, 0] - others)
    return smallest


def test_square_and_rays_find_what_trying_every_corner_finds() -> None:
    # With two classes, no local optimum keeps single pixels from the best corner.
    model = linear(2, 9)
    model.requires_grad_(False)
    x, y = clear_images(model, 60, size=3)
    radius = 0.1
    truth = brute_force_margin(model, x, y, radius)
    keys = np.arange(60, dtype=np.uint64)
    by_square, by_rays = (AttackBatch(plain(model), x, y, radius) for _ in range(2))
    with torch.no_grad():
        arguments = AttackArguments(steps=3000, keys=keys, seeds=(1,))
        square(by_square, arguments, FullForward(model))
        rays_attack(by_rays, AttackArguments(steps=2000, keys=keys))
    assert 10 < (truth < 0).sum() < 50
    for batch in (by_square, by_rays):
        assert not (batch.broken & (truth > 1e-5)).any()
    # RayS flips whole blocks and misses a few corners.
    assert torch.equal(by_square.broken, truth <= 0)
    assert (~by_rays.broken & (truth < -1e-5)).sum() <= 4
    assert (by_square.steps[~by_square.broken.numpy()] == 3000).all()
    assert (by_square.forwards < 3000).all(), "a square that changes nothing costs no pass"


def test_several_queries_in_a_pass_are_those_of_one_query_in_a_pass() -> None:
    model = coarse_linear(4, 3 * 36)
    x, y = clear_images(model, 12, channels=3, size=6)
    x = (x * 16).round() / 16
    y = model(x).argmax(dim=1)
    batches: dict[int, AttackBatch] = {}
    passes: dict[int, int] = {}
    for queries_per_pass in (1, 7, 96):
        calls: list[int] = []

        def predict(pixels: Tensor, calls: list[int] = calls) -> Tensor:
            calls.append(len(pixels))
            logits: Tensor = model(pixels)
            return logits

        batches[queries_per_pass] = batch = AttackBatch(plain(model), x, y, 1 / 32)
        arguments = AttackArguments(
            steps=400,
            keys=np.arange(12, dtype=np.uint64),
            seeds=(5,),
            queries_per_pass=queries_per_pass,
        )
        with torch.no_grad():
            square(batch, arguments, FullForward(predict))
        passes[queries_per_pass] = len(calls)
    assert passes[96] < passes[7] / 2 <= passes[1] / 2
    single = batches[1]
    assert 1 <= single.broken.sum() <= 11
    for batch in batches.values():
        assert torch.equal(batch.broken, single.broken)
        assert torch.equal(batch.candidates, single.candidates)
        assert np.array_equal(batch.steps, single.steps)
        assert np.array_equal(batch.forwards, single.forwards)
