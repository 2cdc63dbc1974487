"""One unit of a verification: train a network on one arm with one seed, and attack it.

The files of a training are named by a hash of everything that it depends on. So the same training
is never made twice in one workspace, whichever verification asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from datacurate.attacks.autoattack import SEARCH_VERSION
from datacurate.attacks.outcome import AttackState
from datacurate.attacks.precision import full_float32
from datacurate.attacks.settings import AttackSettings
from datacurate.data.batches import as_pixels
from datacurate.evaluation import Evaluation, evaluate
from datacurate.fingerprints import configuration_hash, seed64, sha256_bytes
from datacurate.outputs import write_json
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import Execution, Training, VerifyRecipe
from datacurate.training import devices
from datacurate.training.checkpoints import load_tensors, rebuild_network
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Weights, fit
from datacurate.verification.arms import I64, Arms
from datacurate.verification.results import StandardNetwork, TrainedNetwork
from datacurate.verification.surrogate import Surrogate

Checkpoint = Literal["best", "last"]

_CLEAN_BATCH = 500


@dataclass(frozen=True)
class VerificationProgress:
    """Progress of a verification after an epoch of a training or a batch of an attack.

    Attributes
    ----------
    arm : str
    seed : int
    unit, units : int
        `unit` is 1-based.
    epoch : EpochReport or None
    attack : str
        Empty while training.
    done, total : int
        Examples attacked.
    trained : int
        Finished epochs of all units, of earlier processes too.
    """

    arm: str
    seed: int
    unit: int
    units: int
    epoch: EpochReport | None = None
    attack: str = ""
    done: int = 0
    total: int = 0
    trained: int = 0


OnProgress = Callable[[VerificationProgress], None]


@dataclass(frozen=True)
class Unit:
    """Which network to train.

    Attributes
    ----------
    arm : str
    seed : int
    standard : bool
        Standard training, for the cross-generalisation gap. Such a network is not attacked.
    """

    arm: str
    seed: int
    standard: bool = False

    @property
    def label(self) -> str:
        """Arm and kind of training, for progress."""
        return f"{self.arm}, standard training" if self.standard else self.arm


@dataclass(frozen=True)
class Trainings:
    """All trainings of a verification: what they have in common, and how to run one.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    arms : Arms
    images : ndarray of uint8, shape (N, H, W, C)
        The training split.
    test_images, test_labels : ndarray
        The test split.
    attacked_rows : ndarray of int64
        Rows of the test split that are attacked.
    data_hash : str
        Hash of all images and labels of both splits.
    workspace : Path
        Where units save their state and results.
    surrogate : Surrogate, optional
        For the suite that needs one.
    """

    recipe: VerifyRecipe
    arms: Arms
    images: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: I64
    attacked_rows: I64
    data_hash: str
    workspace: Path
    surrogate: Surrogate | None = None

    def units(self) -> list[Unit]:
        """Return all units in the order in which they run: the arms of a seed side by side."""
        seeds = range(self.recipe.seed, self.recipe.seed + self.recipe.seeds)
        units = [Unit(arm, seed) for seed in seeds for arm in self.recipe.arms]
        return units + [replace(unit, standard=True) for unit in units if self.recipe.standard]

    def training_data(self, arm: str, seed: int) -> TrainingData:
        """Return the examples that a unit trains on and chooses its best checkpoint on."""
        arms, held_out = self.arms, self.arms.held_out
        selection = self.images[held_out], arms.labels[held_out]
        if self.recipe.select == "test":
            selection = self.test_images, self.test_labels
        return TrainingData(
            images=self.images,
            labels=arms.labels,
            rows=arms.rows(arm, seed),
            selection_images=selection[0],
            selection_labels=selection[1],
            classes=arms.classes,
        )

    def key(self, unit: Unit) -> str:
        """Return 16 hex digits: a hash of everything that a unit's training depends on."""
        return configuration_hash(
            {
                "data": self.data_hash,
                "torch": torch.__version__,
                "training": asdict(self.training(unit)),
                "execution": asdict(self.recipe.execution),
                "seed": unit.seed,
                "rows": rows_sha256(self.arms.rows(unit.arm, unit.seed)),
                "selected on": rows_sha256(self.arms.held_out),
            }
        )

    def saved_epochs(self, key: str) -> int:
        """Return how many epochs of a training are saved; 0 if it has not begun."""
        path = self._training_state(key)
        return len(load_tensors(path, mapped=True)["history"]) if path.exists() else 0

    def is_finished(self, unit: Unit) -> bool:
        """Return whether a unit is trained and, unless it trains standardly, attacked."""
        key = self.key(unit)
        epochs = self.recipe.training.epochs
        if self.saved_epochs(key) < epochs:
            return False
        if unit.standard:
            return True
        best_epoch = load_tensors(self._training_state(key), mapped=True)["best_epoch"]
        checkpoints: tuple[Checkpoint, ...] = ("best", "last")
        attacked = checkpoints[:1] if best_epoch == epochs else checkpoints
        states = [_saved_attack(self._attack_state(key, which)) for which in attacked]
        return all(state is not None and "pgd10" in state for state in states)

    def train_and_attack(
        self, number: int, on_progress: OnProgress | None = None
    ) -> TrainedNetwork | StandardNetwork:
        """Train and attack the unit of a number, continue it, or read it back if it is finished.

        Parameters
        ----------
        number : int
            0-based position in `units`.
        on_progress : callable, optional
        """
        units = self.units()
        unit = units[number]

        def report(**progress: Any) -> None:
            if on_progress is not None:
                place = (unit.label, unit.seed, number + 1, len(units))
                on_progress(VerificationProgress(*place, **progress))

        data = self.training_data(unit.arm, unit.seed)
        execution = devices.device_of_unit(self.recipe.execution, number)
        key = self.key(unit)
        fitted = fit(
            self.training(unit),
            execution,
            data,
            unit.seed,
            self._training_state(key),
            lambda history: report(epoch=history[-1]),
        )
        if unit.standard:
            return StandardNetwork(
                arm=unit.arm,
                seed=unit.seed,
                best_epoch=fitted.best_epoch,
                epochs=len(fitted.history),
                seconds=fitted.history[-1].seconds,
                best=self._clean_accuracy(fitted.best, execution),
                last=self._clean_accuracy(fitted.last, execution),
            )

        def attack(weights: Weights, which: Checkpoint) -> Evaluation:
            path = self._attack_state(key, which)
            return self._evaluate(weights, execution, path, which, report)

        best = attack(fitted.best, "best")
        # If the last epoch is the best, there is one network and one evaluation of it.
        is_last = fitted.best_epoch == len(fitted.history)
        return TrainedNetwork(
            arm=unit.arm,
            seed=unit.seed,
            size=len(data.rows),
            rows_sha256=rows_sha256(data.rows),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
            best=best,
            last=best if is_last else attack(fitted.last, "last"),
        )

    def training(self, unit: Unit) -> Training:
        """Return how a unit is trained."""
        training = self.recipe.training
        return replace(training, method="standard") if unit.standard else training

    def _training_state(self, key: str) -> Path:
        return self.workspace / f"{key}.pt"

    def _attack_state(self, key: str, which: Checkpoint) -> Path:
        recipe = self.recipe
        attack = configuration_hash(
            {
                "suite": recipe.suite,
                "radius": recipe.radius,
                "examples": recipe.examples,
                "seed": recipe.seed,
                "searches": SEARCH_VERSION,
                "surrogate": self.surrogate and self.surrogate.sha256,
            }
        )
        return self.workspace / f"{key}.{which}.{attack}.json"

    def _net(self, weights: Weights) -> nn.Module:
        return rebuild_network(
            weights, self.recipe.training.model, self.arms.classes, self.images.shape[3]
        )

    def _clean_accuracy(self, weights: Weights, execution: Execution) -> Accuracy:
        """Return the clean accuracy of a network on the attacked rows."""
        correct = 0
        with devices.deterministic(execution) as device, torch.no_grad(), full_float32(device):
            net = self._net(weights).to(device)
            for start in range(0, len(self.attacked_rows), _CLEAN_BATCH):
                rows = self.attacked_rows[start : start + _CLEAN_BATCH]
                x = as_pixels(torch.from_numpy(self.test_images[rows]).to(device))
                predicted = net(x).argmax(dim=1).cpu().numpy()
                correct += int(np.count_nonzero(predicted == self.test_labels[rows]))
        return Accuracy(correct, len(self.attacked_rows))

    def _evaluate(
        self,
        weights: Weights,
        execution: Execution,
        path: Path,
        which: Checkpoint,
        report: Callable[..., None],
    ) -> Evaluation:
        recipe = self.recipe
        with devices.deterministic(execution) as device:
            surrogate = None if self.surrogate is None else self.surrogate.network().to(device)
            return evaluate(
                self._net(weights).to(device),
                self.test_images[self.attacked_rows],
                self.test_labels[self.attacked_rows],
                AttackSettings(
                    radius_255=recipe.radius,
                    suite=recipe.suite,
                    seed=seed64("attack", recipe.seed),
                    dtype=execution.dtype,
                    surrogate=surrogate,
                ),
                state=_saved_attack(path),
                save=lambda state: write_json(path, state),
                progress=lambda name, done, total: report(
                    attack=f"{which}: {name}", done=done, total=total
                ),
            )


def rows_sha256(rows: I64) -> str:
    """Return the sha256 of a list of rows, as little-endian int64."""
    return sha256_bytes(rows.astype("<i8").tobytes())


def _saved_attack(path: Path) -> AttackState | None:
    if not path.exists():
        return None
    state: AttackState = json.loads(path.read_text(encoding="utf-8"))
    return state
