from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.transfer import transfer_pgd
from datacurate.errors import UsageError
from tests.attacks.models import batch_of, clear_images, linear, worst_margins

RADIUS = 6 / 255


def test_transfer_from_the_model_itself_and_from_another() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 60)
    truth = worst_margins(model, x, y, RADIUS)
    settings = AttackSettings(radius_255=6, suite="transfer")
    itself = autoattack(model, x, y, replace(settings, surrogate=model))
    assert (truth[itself.broken_by >= 0] < 1e-5).all()
    white_box = autoattack(model, x, y, replace(settings, suite="pgd-20"))
    assert abs(int(itself.robust.sum()) - int(white_box.robust.sum())) <= 3
    other = autoattack(model, x, y, replace(settings, surrogate=linear(4, 64, seed=5)))
    assert other.robust.sum() > itself.robust.sum()
    assert other.spent_on_survivors()[0] == {
        "steps": [50, 50],
        "forwards": [1, 1],
        "gradients": [0, 0],
    }


def test_only_transfer_takes_a_surrogate_and_it_needs_one() -> None:
    model = linear(4, 64)
    x, y = clear_images(model, 4)
    with pytest.raises(UsageError, match="surrogate"):
        autoattack(model, x, y, AttackSettings(suite="transfer"))
    with pytest.raises(UsageError, match="surrogate"):
        autoattack(model, x, y, AttackSettings(suite="custom", surrogate=model))
    batch = batch_of(model, 4, RADIUS)
    with pytest.raises(UsageError, match="surrogate"):
        transfer_pgd(batch, AttackArguments(steps=1, keys=np.arange(4, dtype=np.uint64)))


def test_the_surrogate_gets_every_step() -> None:
    batch = batch_of(linear(4, 64), 40, RADIUS)
    keys = np.arange(40, dtype=np.uint64)
    transfer_pgd(batch, AttackArguments(steps=7, keys=keys, surrogate=batch.model))
    assert (batch.steps == 7).all()
