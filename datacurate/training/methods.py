"""One training step of each method: craft, forward, loss, and the logits that are recorded.

A step takes the clean augmented batch and returns the loss to descend and the logits from which
correctness under attack is read, both before the weights change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from datacurate.attacks.pgd import pgd
from datacurate.errors import UnknownNameError
from datacurate.recipes import Training


class Step(NamedTuple):
    """What a method makes of a batch.

    Attributes
    ----------
    loss : Tensor, scalar
    recorded : Tensor, shape (B, K)
        Logits of the adversarial examples.
    """

    loss: Tensor
    recorded: Tensor


Method = Callable[[nn.Module, Tensor, Tensor, Training, torch.Generator], Step]


def pgd_at(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """Madry's adversarial training: cross-entropy of PGD examples.

    The examples are crafted in eval mode; the recorded logits are those of the training forward,
    with batch statistics (S0, A.1). With one step it is single-step training.
    """
    attack = training.attack
    adversarial = pgd(
        net,
        x,
        y,
        radius=attack.radius / 255,
        step=attack.step / 255,
        steps=attack.steps,
        start=attack.start,
        generator=generator,
    )
    logits = net(adversarial).float()
    return Step(functional.cross_entropy(logits, y), logits)


METHODS: Mapping[str, Method] = {"pgd-at": pgd_at}


def method(name: str) -> Method:
    """Return a method's step by name.

    Raises
    ------
    UnknownNameError
    """
    if name not in METHODS:
        raise UnknownNameError("training method", name, METHODS)
    return METHODS[name]
