from __future__ import annotations

import numpy as np
import torch

from datacurate.attacks.minimum_perturbation import minimum_perturbation
from tests.attacks.models import Normed, linear, worst_margins


def test_is_the_first_step_beyond_a_linear_boundary() -> None:
    model = linear(2, 64)
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    y = model(x).argmax(dim=1)
    distance = minimum_perturbation(model, x, cap=16 / 255).numpy()
    # The closed form at every radius k/255: the first with a negative worst margin.
    margins = np.stack([worst_margins(model, x, y, k / 255) for k in range(17)])
    beyond = margins < 0
    expected = np.where(beyond.any(axis=0), beyond.argmax(axis=0) / 255, np.inf)
    clear = (np.abs(margins) > 1e-4).all(axis=0)
    np.testing.assert_allclose(distance[clear], expected[clear], atol=1e-6)
    assert clear.sum() > 60
    assert 0 < np.isinf(distance).sum() < 64


def test_does_not_depend_on_the_batch_and_leaves_the_model_alone() -> None:
    model = Normed()
    x = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    together = minimum_perturbation(model, x, cap=64 / 255)
    alone = torch.cat([minimum_perturbation(model, x[i : i + 1], cap=64 / 255) for i in range(12)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_starts_from_the_prediction_whether_right_or_wrong() -> None:
    model = linear(3, 64)
    x = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    distance = minimum_perturbation(model, x, cap=4 / 255)
    assert (distance > 0).all()
