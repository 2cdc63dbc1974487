from __future__ import annotations

import pytest
import torch

from datacurate.attacks.losses import (
    LossFunction,
    cross_entropy_loss,
    targeted_dlr_loss,
    targeted_margin_loss,
)


def test_the_dlr_loss_does_not_depend_on_scale_and_shift() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0]])
    y, target = torch.tensor([0]), torch.tensor([1])
    expected = (1.0 - 3.0) / (3.0 - (0.5 + 0.0) / 2)
    assert targeted_dlr_loss(logits, y, target)[0].item() == pytest.approx(expected)
    assert targeted_dlr_loss(7 * logits + 4, y, target)[0].item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss_function", [cross_entropy_loss, targeted_dlr_loss, targeted_margin_loss]
)
def test_losses_give_the_gradients_of_autograd(loss_function: LossFunction) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 6, generator=generator).requires_grad_()
    y, target = torch.randint(6, (2, 50), generator=generator)
    target = torch.where(target == y, (y + 1) % 6, target)
    loss, gradient = loss_function(logits, y, target)
    (expected,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, expected)
