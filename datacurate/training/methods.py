"""One training step of each method: craft examples, forward, loss, and the recorded logits.

A step takes the clean augmented batch. It returns the loss and the logits from which correctness is
read, both before the weights change. Every method crafts its examples in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from datacurate.attacks.frozen import frozen
from datacurate.attacks.pgd import Loss, pgd, summed_cross_entropy
from datacurate.attacks.single_step import noisy_fgsm
from datacurate.errors import RecipeError, UnknownNameError
from datacurate.recipes import Training
from datacurate.training.losses import gairat_weights, mart_loss, trades_loss


class Step(NamedTuple):
    """The result of a method on a batch.

    Attributes
    ----------
    loss : Tensor, scalar
    recorded : Tensor, shape (B, K)
        Logits from which correctness is read: of adversarial examples, or of clean ones in
        standard training.
    """

    loss: Tensor
    recorded: Tensor


Method = Callable[[nn.Module, Tensor, Tensor, Training, torch.Generator], Step]


def pgd_at(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """Madry's adversarial training: cross-entropy of PGD examples.

    The recorded logits are those of the training forward, with batch statistics (Dong et al.
    2021, appendix A.1). With one step from a uniform start it is FGSM-RS (Wong et al., "Fast is
    better than free", https://arxiv.org/abs/2001.03994), whose step is 1.25 radii.
    """
    logits = net(_craft(net, x, y, training, generator)).float()
    return Step(functional.cross_entropy(logits, y), logits)


def n_fgsm(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """N-FGSM: cross-entropy of single-step examples that start outside the ball.

    The recorded logits are those of the training forward.
    """
    attack = training.attack
    adversarial = noisy_fgsm(
        net,
        x,
        y,
        noise=training.objective.noise * attack.radius / 255,
        step=attack.step / 255,
        generator=generator,
    )
    logits = net(adversarial).float()
    return Step(functional.cross_entropy(logits, y), logits)


def trades(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """TRADES; see `datacurate.training.losses.trades_loss`.

    Its attack maximises the divergence from the clean prediction and does not see the label. So
    correctness is recorded under a separate attack on the label, crafted and read in eval mode
    before the step (Dong et al. 2021, footnote 5).
    """
    attack, objective = training.attack, training.objective
    with frozen(net), torch.no_grad():
        prediction = net(x).float().softmax(dim=1)
    adversarial = _craft(net, x, prediction, training, generator, loss=_summed_divergence)
    tracked = pgd(
        net,
        x,
        y,
        radius=attack.radius / 255,
        step=objective.tracking_step / 255,
        steps=objective.tracking_steps,
        start="uniform",
        generator=generator,
    )
    with frozen(net), torch.no_grad():
        recorded = net(tracked).float()
    loss = trades_loss(net(x).float(), net(adversarial).float(), y, objective.beta)
    return Step(loss, recorded)


def mart(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """MART; see `datacurate.training.losses.mart_loss`.

    Its attack is PGD on the label, so the recorded logits are those of its own training forward.
    """
    adversarial = _craft(net, x, y, training, generator)
    clean_logits, logits = net(x).float(), net(adversarial).float()
    return Step(mart_loss(clean_logits, logits, y, training.objective.beta), logits)


def gairat(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """GAIRAT: cross-entropy of PGD examples, weighted; see `losses.gairat_weights`.

    The recorded logits are those of the training forward.
    """
    kappa = torch.zeros(len(y), dtype=torch.int64, device=y.device)

    def counting(logits: Tensor, labels: Tensor) -> Tensor:
        # The attack calls this once for each iterate that it steps from, the start included.
        kappa.add_(logits.detach().argmax(dim=1) == labels)
        return summed_cross_entropy(logits, labels)

    logits = net(_craft(net, x, y, training, generator, loss=counting)).float()
    weights = gairat_weights(kappa, training.attack.steps, training.objective.offset)
    loss = (weights * functional.cross_entropy(logits, y, reduction="none")).mean()
    return Step(loss, logits)


def standard(
    net: nn.Module, x: Tensor, y: Tensor, training: Training, generator: torch.Generator
) -> Step:
    """Cross-entropy of clean examples; the recorded logits are those of the same forward.

    Then correctness is clean correctness, and all scores derived from it are of clean training.
    """
    logits = net(x).float()
    return Step(functional.cross_entropy(logits, y), logits)


METHODS: Mapping[str, Method] = {
    "pgd-at": pgd_at,
    "trades": trades,
    "mart": mart,
    "gairat": gairat,
    "fgsm-rs": pgd_at,
    "n-fgsm": n_fgsm,
    "standard": standard,
}

SINGLE_STEP = ("fgsm-rs", "n-fgsm")


def method(name: str) -> Method:
    """Return the step of a method by name.

    Raises
    ------
    UnknownNameError
    """
    if name not in METHODS:
        raise UnknownNameError("training method", name, METHODS)
    return METHODS[name]


def check_method(training: Training) -> None:
    """Raise unless the method exists and can use the attack of the training.

    Raises
    ------
    UnknownNameError
        For a method that does not exist.
    RecipeError
        For a single-step method with several steps or another start.
    """
    method(training.method)
    attack = training.attack
    if training.method not in SINGLE_STEP:
        return
    step = attack.radius * (1.25 if training.method == "fgsm-rs" else 1)
    if attack.steps != 1 or attack.start != "uniform":
        raise RecipeError(
            f"{training.method} takes one step from a uniform start",
            expected="training.attack.steps = 1, training.attack.start = uniform",
            got=f"steps = {attack.steps}, start = {attack.start}",
            hint="--set attack.steps=1 --set training.attack.start=uniform "
            f"--set training.attack.step={step:g}",
        )


def _craft(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    training: Training,
    generator: torch.Generator,
    loss: Loss = summed_cross_entropy,
) -> Tensor:
    """Return adversarial examples of a batch, crafted with the attack of the training."""
    attack = training.attack
    return pgd(
        net,
        x,
        y,
        radius=attack.radius / 255,
        step=attack.step / 255,
        steps=attack.steps,
        start=attack.start,
        generator=generator,
        loss=loss,
    )


def _summed_divergence(logits: Tensor, prediction: Tensor) -> Tensor:
    """Return KL(prediction ‖ softmax(logits)), summed over the batch."""
    return functional.kl_div(logits.float().log_softmax(dim=1), prediction, reduction="sum")
