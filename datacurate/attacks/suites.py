"""Which attacks a suite consists of, for a given number of classes.

AutoAttack: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of
diverse parameter-free attacks" (https://arxiv.org/abs/2003.01690). The attacks beside it are those
of S1, appendix B.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from datacurate.errors import UnknownNameError, UsageError

Suite = Literal[
    "standard", "custom", "fast", "pgd-10", "pgd-20", "pgd-1000", "square", "rays", "transfer"
]

AUTOATTACK = ("standard", "custom")
"""The suites that are AutoAttack; what the others leave is an upper bound of what it leaves."""

GRADIENT_FREE = ("square", "rays")
"""The attacks that ask a model for nothing but its answers."""

WITHOUT_GRADIENTS = (*GRADIENT_FREE, "transfer")
"""The suites that ask the attacked model for no gradients."""

_SUITES: dict[str, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "custom": ("apgd-ce", "apgd-t"),
    "fast": ("runner-up", "nearest"),
    "pgd-10": ("pgd",),
    "pgd-20": ("pgd",),
    "pgd-1000": ("pgd",),
    "square": ("square",),
    "rays": ("rays",),
    "transfer": ("transfer-pgd", "transfer-apgd"),
}
_TITLES = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}
_LABELS = {
    "fast": "fast, an upper bound of AutoAttack's robust accuracy",
    "square": "Square alone, 5,000 queries",
    "rays": "RayS, 10,000 queries for labels alone",
    "transfer": "transfer of PGD and APGD examples from a surrogate",
}
_MOST_TARGETS = 9
_TARGETED_DLR_CLASSES = 4  # its denominator takes the first, third and fourth largest logit
_ITERATIONS = 100  # of APGD and FAB
_QUERIES = 5000  # of Square
_LABEL_QUERIES = 10_000  # of RayS
_TRANSFERRED_STEPS = 50  # of PGD on the surrogate
_RUNNER_UP_STEPS = 20


@dataclass(frozen=True)
class Pass:
    """One search over the examples that survive.

    Attributes
    ----------
    attack : str
        Such as ``"apgd-ce"`` or ``"square"``.
    target : int
        Of a targeted attack, the place of the target class among an example's logits: 1 is the
        runner-up. 0 for an untargeted attack.
    steps : int
        Iterations or queries that each example gets unless it breaks.
    """

    attack: str
    target: int
    steps: int = _ITERATIONS


@dataclass(frozen=True)
class SuitePlan:
    """The attacks of a suite, in order.

    Attributes
    ----------
    attacks : tuple of str
    passes : tuple of Pass
        The same, with each target a search of its own.
    label : str
        The suite in words, with what had to be left out.
    """

    attacks: tuple[str, ...]
    passes: tuple[Pass, ...]
    label: str

    def together(self, done: int, most: int) -> tuple[Pass, ...]:
        """Return the passes after the first so many that may go on at a time.

        They differ in their target alone; what is left of the attack is cut evenly.

        Parameters
        ----------
        done : int
        most : int
            Passes; one at the least.
        """
        left = [step for step in self.passes[done:] if step.attack == self.passes[done].attack]
        rounds = math.ceil(len(left) / max(1, most))
        return tuple(left[: math.ceil(len(left) / rounds)])


def is_upper_bound(suite: str) -> bool:
    """Return whether what a suite leaves is an upper bound of what AutoAttack would leave."""
    return suite not in AUTOATTACK


def plan(suite: str, classes: int) -> SuitePlan:
    """Return the attacks of a suite for a model with so many classes.

    ``"custom"`` is APGD on cross-entropy, then APGD on the targeted DLR loss; ``"standard"`` adds
    targeted FAB and Square. Targeted attacks aim at min(9, classes − 1) classes. The targeted DLR
    loss needs four classes; below that APGD-T is left out, and the label says so. ``"fast"`` is
    an upper bound of what `standard` finds; see `datacurate.attacks.fast_attack`. ``"pgd-10"``,
    ``"pgd-20"`` and ``"pgd-1000"`` are PGD with steps of 2/255 from the image; ``"square"`` and
    ``"rays"`` know no gradients; ``"transfer"`` brings the examples of a surrogate.

    Parameters
    ----------
    suite : str
    classes : int
        2 or more.

    Raises
    ------
    UnknownNameError
        For another suite.
    UsageError
        For fewer than two classes.
    """
    if suite not in _SUITES:
        raise UnknownNameError("attack suite", suite, _SUITES)
    if classes < 2:
        raise UsageError("a model of one class cannot be wrong", expected="2 or more classes")
    attacks = _SUITES[suite]
    if suite.startswith("pgd-"):
        steps = int(suite.removeprefix("pgd-"))
        label = f"PGD-{steps:,}, steps of 2/255 from the image"
        return SuitePlan(attacks, (Pass("pgd", 0, steps),), label)
    left_out = ""
    if classes < _TARGETED_DLR_CLASSES and "apgd-t" in attacks:
        attacks = tuple(attack for attack in attacks if attack != "apgd-t")
        left_out = f"; no APGD-T, whose loss needs {_TARGETED_DLR_CLASSES} classes"
    targets = range(1, min(_MOST_TARGETS, classes - 1) + 1)
    passes = tuple(
        Pass(attack, target, _steps(attack))
        for attack in attacks
        for target in (targets if attack.endswith("-t") else (0,))
    )
    if suite in _LABELS:
        return SuitePlan(attacks, passes, _LABELS[suite])
    names = ", ".join(_TITLES[attack] for attack in attacks)
    return SuitePlan(attacks, passes, f"AutoAttack {suite} ({names}{left_out})")


def _steps(attack: str) -> int:
    steps = {
        "square": _QUERIES,
        "rays": _LABEL_QUERIES,
        "transfer-pgd": _TRANSFERRED_STEPS,
        "runner-up": _RUNNER_UP_STEPS,
    }
    return steps.get(attack, _ITERATIONS)
