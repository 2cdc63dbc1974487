"""The table of attack suites: which attacks each suite runs, and how its result is read.

AutoAttack: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of
diverse parameter-free attacks" (https://arxiv.org/abs/2003.01690). The other suites are those of
Dong et al., Data Quality Matters, appendix B.3, and `fast`.

A suite is added by adding a row here. This module does not import torch, so that the command line
can offer the names quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from datacurate.errors import UnknownNameError

Implementation = Literal["own", "package"]
"""Whose attacks: ours, or those of the package `pyautoattack`."""


@dataclass(frozen=True)
class Suite:
    """One suite of attacks.

    Attributes
    ----------
    attacks : tuple of str
        In order; see `datacurate.attacks.table`.
    label : str
        The suite in words, for records. ``{attacks}`` stands for the titles of its attacks with
        what had to be left out, ``{steps}`` for the steps of its first attack.
    upper_bound : bool
        False for AutoAttack. The robust accuracy after any other suite is an upper bound of that
        after AutoAttack.
    steps : mapping of str to int
        Steps of attacks that differ from the attack's own default.
    """

    attacks: tuple[str, ...]
    label: str
    upper_bound: bool = True
    steps: Mapping[str, int] = field(default_factory=dict)


def _pgd(steps: int) -> Suite:
    label = "PGD-{steps:,}, steps of 2/255 from the image"
    return Suite(("pgd",), label, steps={"pgd": steps})


SUITES: dict[str, Suite] = {
    "standard": Suite(
        ("apgd-ce", "apgd-t", "fab-t", "square"),
        "AutoAttack standard ({attacks})",
        upper_bound=False,
    ),
    "custom": Suite(("apgd-ce", "apgd-t"), "AutoAttack custom ({attacks})", upper_bound=False),
    "fast": Suite(("runner-up", "nearest"), "fast, an upper bound of AutoAttack's robust accuracy"),
    "pgd-10": _pgd(10),
    "pgd-20": _pgd(20),
    "pgd-1000": _pgd(1000),
    "square": Suite(("square",), "Square alone, {steps:,} queries"),
    "rays": Suite(("rays",), "RayS, {steps:,} queries for labels alone"),
    "transfer": Suite(
        ("transfer-pgd", "transfer-apgd"), "transfer of PGD and APGD examples from a surrogate"
    ),
}
"""Every suite by its name."""


def suite_named(name: str) -> Suite:
    """Return a suite by its name.

    Parameters
    ----------
    name : str

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    """
    if name not in SUITES:
        raise UnknownNameError("attack suite", name, SUITES)
    return SUITES[name]


def is_upper_bound(name: str) -> bool:
    """Return whether the robust accuracy after a suite is an upper bound of AutoAttack's.

    Parameters
    ----------
    name : str
        Of the suite. Names that are not in the table, as records of other versions may have, are
        upper bounds.
    """
    return name not in SUITES or SUITES[name].upper_bound
