"""The passes of a suite: one attack with one target class after another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from datacurate.attacks.suites import suite_named
from datacurate.attacks.table import ATTACKS, AttackSpec
from datacurate.errors import UnknownNameError, UsageError

_MOST_TARGETS = 9  # as in AutoAttack


@dataclass(frozen=True)
class Pass:
    """One attack with one target over the surviving examples.

    Attributes
    ----------
    attack : str
        Such as ``"apgd-ce"`` or ``"square"``.
    target : int
        Of a targeted attack, the rank of the target class among an example's logits: 1 is the
        runner-up. 0 for an untargeted attack.
    steps : int
        Iterations or queries for each example that does not break.
    """

    attack: str
    target: int
    steps: int


@dataclass(frozen=True)
class SuitePlan:
    """The attacks of a suite, in order.

    Attributes
    ----------
    attacks : tuple of str
    passes : tuple of Pass
        The attacks, with one pass for each target.
    label : str
        The suite in words, with what had to be left out.
    """

    attacks: tuple[str, ...]
    passes: tuple[Pass, ...]
    label: str

    def next_passes(self, done: int, most: int) -> tuple[Pass, ...]:
        """Return the next passes that can share a batch: those of one attack.

        The remaining targets of the attack are divided evenly.

        Parameters
        ----------
        done : int
            Passes that are done.
        most : int
            Passes that fit into a batch; at least one is returned.

        Returns
        -------
        tuple of Pass
        """
        attack = self.passes[done].attack
        remaining = [step for step in self.passes[done:] if step.attack == attack]
        rounds = math.ceil(len(remaining) / max(1, most))
        return tuple(remaining[: math.ceil(len(remaining) / rounds)])


def plan(
    suite: str,
    classes: int,
    *,
    steps: Mapping[str, int] | None = None,
    attacks: Mapping[str, AttackSpec] = ATTACKS,
) -> SuitePlan:
    """Return the passes of a suite for a model with a number of classes.

    Targeted attacks aim at min(9, classes − 1) classes. An attack whose loss needs more classes
    than there are is left out, and the label says so.

    Parameters
    ----------
    suite : str
        See `datacurate.attacks.suites.SUITES`.
    classes : int
        At least 2.
    steps : mapping of str to int, optional
        Iterations or queries of some attacks, instead of those of the suite.
    attacks : mapping of str to AttackSpec
        The table of attacks.

    Returns
    -------
    SuitePlan

    Raises
    ------
    UnknownNameError
        For an unknown suite, or steps of an unknown attack.
    UsageError
        For fewer than two classes, or a suite with an attack that is not in the table.
    """
    row = suite_named(suite)
    if classes < 2:
        raise UsageError("a model with one class is always right", expected="2 or more classes")
    for name in steps or {}:
        if name not in ATTACKS:
            raise UnknownNameError("attack", name, ATTACKS)
    for name in row.attacks:
        if name not in attacks:
            raise UsageError(
                f"the suite {suite} has an attack that this implementation does not have",
                expected=f"only {', '.join(attacks)}",
                got=name,
                hint="use the implementation own",
            )
    chosen = tuple(name for name in row.attacks if classes >= attacks[name].min_classes)
    steps_of = {name: attacks[name].steps for name in chosen} | dict(row.steps) | dict(steps or {})
    targets = range(1, min(_MOST_TARGETS, classes - 1) + 1)
    passes = tuple(
        Pass(name, target, steps_of[name])
        for name in chosen
        for target in (targets if attacks[name].targeted else (0,))
    )
    titles = ", ".join(attacks[name].title for name in chosen)
    for name in row.attacks:
        if name not in chosen:
            title, least = attacks[name].title, attacks[name].min_classes
            titles += f"; no {title}, whose loss needs {least} classes"
    label = row.label.format(attacks=titles, steps=steps_of[chosen[0]])
    return SuitePlan(chosen, passes, label)
