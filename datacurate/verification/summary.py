"""Accuracies of each arm over its seeds, and the gaps that the papers report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datacurate.verification.results import TrainedNetwork, Verification


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over the seeds of an arm, in percentage points.

    Attributes
    ----------
    mean : float
    sd : float or None
        None for one seed.
    """

    mean: float
    sd: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.sd is None else f"±{self.sd:.2f}")

    def as_dict(self) -> dict[str, Any]:
        """Return mean and standard deviation, for JSON."""
        return {"mean": self.mean, "sd": self.sd}


@dataclass(frozen=True)
class ArmAccuracy:
    """Accuracies of an arm at its best, or its last, checkpoints.

    Attributes
    ----------
    clean, pgd10, robust : Spread
        Accuracies in percent; robust is under the recipe's suite.
    overestimation_gap : Spread
        PGD-10 minus robust accuracy: gradient masking (Dong et al. 2021, figure 16).
    cross_generalization_gap : Spread or None
        Clean accuracy of standard training on the same rows minus `clean` (Dong et al. 2021,
        figure 13); None without standard trainings.
    """

    clean: Spread
    pgd10: Spread
    robust: Spread
    overestimation_gap: Spread
    cross_generalization_gap: Spread | None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, for JSON."""
        cross = self.cross_generalization_gap
        return {
            "clean": self.clean.as_dict(),
            "pgd10": self.pgd10.as_dict(),
            "robust": self.robust.as_dict(),
            "overestimation_gap": self.overestimation_gap.as_dict(),
            "cross_generalization_gap": None if cross is None else cross.as_dict(),
        }


@dataclass(frozen=True)
class ArmSummary:
    """Size, accuracies, time and warnings of an arm.

    Attributes
    ----------
    arm : str
    examples : int
        Number of training examples.
    best, last : ArmAccuracy
    robust_overfitting_gap : Spread
        Robust accuracy at the best checkpoint minus that at the last (Dong et al. 2021, figure 14).
    minutes : float
        Mean duration of a training.
    warnings : tuple of str
        Signs that a robust accuracy is too high.
    """

    arm: str
    examples: int
    best: ArmAccuracy
    last: ArmAccuracy
    robust_overfitting_gap: Spread
    minutes: float
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, for JSON."""
        return {
            "arm": self.arm,
            "examples": self.examples,
            "best": self.best.as_dict(),
            "last": self.last.as_dict(),
            "robust_overfitting_gap": self.robust_overfitting_gap.as_dict(),
            "minutes": self.minutes,
            "warnings": list(self.warnings),
        }


def summarize_arms(verification: Verification) -> tuple[ArmSummary, ...]:
    """Return the summary of each arm, in the order of the recipe."""
    return tuple(_summarize(arm, verification) for arm in verification.recipe.arms)


def _summarize(arm: str, verification: Verification) -> ArmSummary:
    networks = verification.of(arm)
    standard = {network.seed: network for network in verification.standard if network.arm == arm}
    over = [m.best.robust.percent - m.last.robust.percent for m in networks]
    warnings = [
        f"{arm}, seed {m.seed}, {which} checkpoint: {line}"
        for m in networks
        for which, evaluation in m.evaluations().items()
        for line in evaluation.warnings
    ]
    return ArmSummary(
        arm=arm,
        examples=networks[0].size,
        best=_accuracies(networks, [standard[s].best.percent for s in sorted(standard)], "best"),
        last=_accuracies(networks, [standard[s].last.percent for s in sorted(standard)], "last"),
        robust_overfitting_gap=_spread(over),
        minutes=sum(m.seconds for m in networks) / len(networks) / 60,
        warnings=tuple(warnings),
    )


def _accuracies(
    networks: Sequence[TrainedNetwork], standard: Sequence[float], which: str
) -> ArmAccuracy:
    evaluations = [getattr(network, which) for network in networks]
    clean = [e.clean.percent for e in evaluations]
    return ArmAccuracy(
        clean=_spread(clean),
        pgd10=_spread([e.pgd.percent for e in evaluations]),
        robust=_spread([e.robust.percent for e in evaluations]),
        overestimation_gap=_spread([e.overestimation_gap for e in evaluations]),
        cross_generalization_gap=(
            _spread([s - c for s, c in zip(standard, clean, strict=True)]) if standard else None
        ),
    )


def _spread(values: Sequence[float]) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), sd)
