"""The table of attacks: what each one is, needs and costs, and the function that runs it.

An attack is added by adding a row here and a module with its function.
"""

from __future__ import annotations

from dataclasses import dataclass

from datacurate.attacks.apgd import apgd_ce, apgd_targeted
from datacurate.attacks.arguments import AttackFunction
from datacurate.attacks.fab import fab_targeted
from datacurate.attacks.fast_attack import nearest_attack, runner_up_attack
from datacurate.attacks.losses import DLR_CLASSES
from datacurate.attacks.pgd_attack import pgd_attack
from datacurate.attacks.rays import rays_attack
from datacurate.attacks.square import square_attack
from datacurate.attacks.suites import suite_named
from datacurate.attacks.transfer import transfer_apgd, transfer_pgd


@dataclass(frozen=True)
class AttackSpec:
    """One attack.

    Attributes
    ----------
    title : str
        For labels.
    run : callable
        Runs it on a batch.
    steps : int
        Default number of iterations or queries for each example.
    targeted : bool
        Whether it runs once for each target class.
    gradients : bool
        Whether it asks the attacked model for gradients.
    surrogate : bool
        Whether it attacks a surrogate first, with gradients.
    min_classes : int
        Fewest classes for which its loss is defined.
    """

    title: str
    run: AttackFunction
    steps: int
    targeted: bool = False
    gradients: bool = True
    surrogate: bool = False
    min_classes: int = 2


ATTACKS: dict[str, AttackSpec] = {
    "apgd-ce": AttackSpec("APGD-CE", apgd_ce, 100),
    "apgd-t": AttackSpec("APGD-T", apgd_targeted, 100, targeted=True, min_classes=DLR_CLASSES),
    "fab-t": AttackSpec("FAB-T", fab_targeted, 100, targeted=True),
    "square": AttackSpec("Square", square_attack, 5000, gradients=False),
    "pgd": AttackSpec("PGD", pgd_attack, 10),
    "runner-up": AttackSpec("APGD to the runner-up", runner_up_attack, 20),
    "nearest": AttackSpec("APGD to the nearest classes", nearest_attack, 40),
    "rays": AttackSpec("RayS", rays_attack, 10_000, gradients=False),
    "transfer-pgd": AttackSpec(
        "transfer of PGD", transfer_pgd, 50, gradients=False, surrogate=True
    ),
    "transfer-apgd": AttackSpec(
        "transfer of APGD", transfer_apgd, 100, gradients=False, surrogate=True
    ),
}
"""Every attack by its name, as `datacurate.attacks.suites` lists it."""


def needs_surrogate(suite: str) -> bool:
    """Return whether an attack of a suite needs a surrogate.

    Parameters
    ----------
    suite : str

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    """
    return any(ATTACKS[attack].surrogate for attack in suite_named(suite).attacks)


def needs_gradients(suite: str) -> bool:
    """Return whether an attack of a suite asks the attacked model for gradients.

    Parameters
    ----------
    suite : str

    Raises
    ------
    UnknownNameError
        If there is no such suite.
    """
    return any(ATTACKS[attack].gradients for attack in suite_named(suite).attacks)
