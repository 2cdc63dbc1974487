from __future__ import annotations

import numpy as np
import pytest
import torch

from datacurate.attacks.apgd import apgd_ce, checkpoints
from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.table import ATTACKS
from tests.attacks.models import clear_images, linear, plain

RADIUS = 6 / 255


def test_checkpoints_are_those_of_the_paper() -> None:
    # p: 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (section 3.1).
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("attack", ["apgd-t", "fab-t"])
def test_targets_that_share_a_batch_get_the_same_searches(attack: str) -> None:
    model = linear(5, 64).requires_grad_(False)
    x, y = clear_images(model, 40)
    keys = np.arange(40, dtype=np.uint64)
    run = ATTACKS[attack].run
    shared = AttackBatch(plain(model), x, y, RADIUS / 4, runs=4)
    single = [AttackBatch(plain(model), x, y, RADIUS / 4) for _ in range(4)]
    with torch.no_grad():
        targets = (1, 2, 3, 4)
        run(shared, AttackArguments(steps=12, keys=keys, seeds=(5, 6, 7, 8), targets=targets))
        for number, batch in enumerate(single):
            seeds, target = (5 + number,), (1 + number,)
            run(batch, AttackArguments(steps=12, keys=keys, seeds=seeds, targets=target))
    merged = shared.per_example()
    broken = torch.stack([batch.broken for batch in single])
    assert torch.equal(merged.broken, broken.any(dim=0))
    assert 5 <= merged.broken.sum() <= 35
    assert (broken.sum(dim=0) > 1).any(), "some examples break towards several targets"
    assert (model(merged.candidates).argmax(dim=1) != y).equal(merged.broken)
    assert torch.equal(merged.candidates[~merged.broken], x[~merged.broken])
    unbroken = ~merged.broken.numpy()
    for counts, separate in (
        (merged.steps, sum(batch.steps for batch in single)),
        (merged.gradients, sum(batch.gradients for batch in single)),
    ):
        assert np.array_equal(counts[unbroken], np.asarray(separate)[unbroken])
        assert (counts <= separate).all(), "a broken example leaves all runs"


def test_an_unconfirmed_candidate_does_not_end_the_search() -> None:
    model = linear(3, 64).requires_grad_(False)
    x, y = clear_images(model, 30)
    calls = torch.zeros(())

    def wrong_at_first(pixels: torch.Tensor) -> torch.Tensor:
        # The first answers are wrong about everything, as bfloat16 may be about some examples.
        calls.add_(1)
        logits: torch.Tensor = model(pixels)
        return logits.roll(1, dims=1) if calls <= 3 else logits

    exact = AttackBatch(plain(model), x, y, RADIUS)
    misled = AttackBatch(AttackedModel(model, wrong_at_first, model), x, y, RADIUS)
    arguments = AttackArguments(steps=60, keys=np.arange(30, dtype=np.uint64), seeds=(3,))
    with torch.no_grad():
        for batch in (exact, misled):
            apgd_ce(batch, arguments)
    assert misled.unconfirmed > 30
    assert exact.unconfirmed == 0
    assert (misled.broken != exact.broken).sum() <= 2
    assert misled.broken.any()
