"""Which attacks an AutoAttack suite consists of, for a given number of classes.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks" (https://arxiv.org/abs/2003.01690).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datacurate.errors import UnknownNameError, UsageError

Suite = Literal["custom", "standard"]

_SUITES: dict[str, tuple[str, ...]] = {
    "custom": ("apgd-ce", "apgd-t"),
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
}
_TITLES = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}
_MOST_TARGETS = 9
_TARGETED_DLR_CLASSES = 4  # its denominator takes the first, third and fourth largest logit


@dataclass(frozen=True)
class Pass:
    """One search over the examples that survive.

    Attributes
    ----------
    attack : str
        ``"apgd-ce"``, ``"apgd-t"``, ``"fab-t"`` or ``"square"``.
    target : int
        Of a targeted attack, the place of the target class among an example's logits: 1 is the
        runner-up. 0 for an untargeted attack.
    """

    attack: str
    target: int


@dataclass(frozen=True)
class Plan:
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


def plan(suite: str, classes: int) -> Plan:
    """Return the attacks of a suite for a model with so many classes.

    ``"custom"`` is APGD on cross-entropy, then APGD on the targeted DLR loss; ``"standard"`` adds
    targeted FAB and Square. Targeted attacks aim at min(9, classes − 1) classes. The targeted DLR
    loss needs four classes; below that APGD-T is left out, and the label says so.

    Parameters
    ----------
    suite : str
        ``"custom"`` or ``"standard"``.
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
    left_out = ""
    if classes < _TARGETED_DLR_CLASSES:
        attacks = tuple(attack for attack in attacks if attack != "apgd-t")
        left_out = f"; no APGD-T, whose loss needs {_TARGETED_DLR_CLASSES} classes"
    targets = range(1, min(_MOST_TARGETS, classes - 1) + 1)
    passes = tuple(
        Pass(attack, target)
        for attack in attacks
        for target in (targets if attack.endswith("-t") else (0,))
    )
    names = ", ".join(_TITLES[attack] for attack in attacks)
    return Plan(attacks, passes, f"AutoAttack {suite} ({names}{left_out})")
