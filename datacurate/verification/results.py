"""The result of a verification: its trained networks and their comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datacurate.evaluation import Evaluation
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import VerifyRecipe
from datacurate.verification.comparing import Comparison


@dataclass(frozen=True)
class TrainedNetwork:
    """One network of one arm, trained and attacked.

    Attributes
    ----------
    arm : str
    seed : int
    size : int
        Examples trained on.
    rows_sha256 : str
        Hash of their rows, as little-endian int64.
    best_epoch, epochs : int
        1-based epoch of the best checkpoint, and the number of epochs.
    seconds : float
        Duration of the training.
    best, last : Evaluation
        At the best checkpoint and after the last epoch, on the same examples for every network.
    """

    arm: str
    seed: int
    size: int
    rows_sha256: str
    best_epoch: int
    epochs: int
    seconds: float
    best: Evaluation
    last: Evaluation

    def evaluations(self) -> dict[str, Evaluation]:
        """Return the evaluations by name; only ``"best"`` if best and last are one network."""
        if self.best_epoch == self.epochs:
            return {"best": self.best}
        return {"best": self.best, "last": self.last}


@dataclass(frozen=True)
class StandardNetwork:
    """One network of one arm from standard training, for the cross-generalisation gap.

    Attributes
    ----------
    arm : str
    seed : int
    best_epoch, epochs : int
        The best checkpoint has the highest clean accuracy.
    seconds : float
        Duration of the training.
    best, last : Accuracy
        Clean accuracy.
    """

    arm: str
    seed: int
    best_epoch: int
    epochs: int
    seconds: float
    best: Accuracy
    last: Accuracy


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    networks : tuple of TrainedNetwork
    standard : tuple of StandardNetwork
        Empty unless the recipe asks for standard training.
    comparisons : tuple of Comparison
    expected_detectable : float or None
        Smallest difference, in percentage points, that was expected to be found in 80 % of
        repetitions, as stated before the run; see `VerificationPlan.detectable_effect`.
    data, arms, hardware : mapping
        The data, the origin of each arm, and where it ran.
    command : sequence of str
        The command line, if there was one.
    """

    recipe: VerifyRecipe
    networks: tuple[TrainedNetwork, ...]
    standard: tuple[StandardNetwork, ...]
    comparisons: tuple[Comparison, ...]
    expected_detectable: float | None
    data: Mapping[str, Any]
    arms: Mapping[str, Mapping[str, Any]]
    hardware: Mapping[str, Any]
    command: Sequence[str] = ()

    def of(self, arm: str) -> list[TrainedNetwork]:
        """Return the networks of an arm, one for each seed."""
        return [network for network in self.networks if network.arm == arm]

    def comparison(self, judged: str, against: str) -> Comparison:
        """Return the comparison of two arms."""
        return next(
            comparison
            for comparison in self.comparisons
            if (comparison.judged, comparison.against) == (judged, against)
        )
