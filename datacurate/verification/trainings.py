"""One member of a verification: a network trained on one arm with one seed, and attacked.

What a member leaves on the way lies in files named by everything that it depends on, so that the
same training is never made twice in one state folder, whatever asks for it.
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
from datacurate.data.batches import as_pixels
from datacurate.evaluation import Evaluation, evaluate
from datacurate.fingerprints import configuration_hash, seed64, sha256_bytes
from datacurate.outputs import write_json
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import Execution, Training, VerifyRecipe
from datacurate.training import devices
from datacurate.training.checkpoints import load_tensors, rebuilt
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Weights, fit
from datacurate.verification.arms import I64, Arms
from datacurate.verification.results import Member, StandardMember
from datacurate.verification.surrogate import Surrogate

Which = Literal["best", "last"]

_CLEAN_BATCH = 500


@dataclass(frozen=True)
class VerificationProgress:
    """Where a verification is: an epoch of a training, or a batch of an attack.

    Attributes
    ----------
    arm : str
    seed : int
    member, members : int
        `member` is 1-based.
    epoch : EpochReport or None
    attack : str
        Empty while training.
    done, total : int
        Examples attacked.
    trained : int
        Epochs of all members that are done, in this process or an earlier one.
    """

    arm: str
    seed: int
    member: int
    members: int
    epoch: EpochReport | None = None
    attack: str = ""
    done: int = 0
    total: int = 0
    trained: int = 0


Report = Callable[[VerificationProgress], None]


@dataclass(frozen=True)
class Task:
    """Which member to make.

    Attributes
    ----------
    arm : str
    seed : int
    standard : bool
        By standard training, for the cross-generalisation gap, and not attacked.
    """

    arm: str
    seed: int
    standard: bool = False

    @property
    def label(self) -> str:
        """The member's arm and kind, for progress."""
        return f"{self.arm}, standard training" if self.standard else self.arm


@dataclass(frozen=True)
class Making:
    """What all members of a verification have in common.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    arms : Arms
    images : ndarray of uint8, shape (N, H, W, C)
        The training split.
    test_images, test_labels : ndarray
        The test split.
    tested : ndarray of int64
        Rows of the test split that are attacked.
    data : str
        Stands for all images and labels of both splits.
    state : Path
        Where members leave what they have.
    surrogate : Surrogate, optional
        Of the suite that needs one.
    """

    recipe: VerifyRecipe
    arms: Arms
    images: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: I64
    tested: I64
    data: str
    state: Path
    surrogate: Surrogate | None = None

    def plan(self) -> list[Task]:
        """Return every member, in the order in which they are made: pairs beside each other."""
        seeds = range(self.recipe.seed, self.recipe.seed + self.recipe.seeds)
        tasks = [Task(arm, seed) for seed in seeds for arm in self.recipe.arms]
        return tasks + [replace(task, standard=True) for task in tasks if self.recipe.standard]

    def trained_on(self, arm: str, seed: int) -> TrainingData:
        """Return what a member sees."""
        arms, held_out = self.arms, self.arms.held_out
        chosen_on = self.images[held_out], arms.labels[held_out]
        if self.recipe.select == "test":
            chosen_on = self.test_images, self.test_labels
        return TrainingData(
            images=self.images,
            labels=arms.labels,
            rows=arms.rows(arm, seed),
            selection_images=chosen_on[0],
            selection_labels=chosen_on[1],
            classes=arms.classes,
        )

    def key(self, task: Task) -> str:
        """Return 16 hex digits that stand for everything that a member's training depends on."""
        return configuration_hash(
            {
                "data": self.data,
                "torch": torch.__version__,
                "training": asdict(self.training(task)),
                "execution": asdict(self.recipe.execution),
                "seed": task.seed,
                "rows": rows_sha256(self.arms.rows(task.arm, task.seed)),
                "selected on": rows_sha256(self.arms.held_out),
            }
        )

    def trained(self, key: str) -> int:
        """Return how many epochs a training has behind it; none if it was not begun."""
        path = self._training_state(key)
        return len(load_tensors(path, mapped=True)["history"]) if path.exists() else 0

    def is_made(self, task: Task) -> bool:
        """Return whether a member is trained and, unless by standard training, attacked."""
        key = self.key(task)
        epochs = self.recipe.training.epochs
        if self.trained(key) < epochs:
            return False
        if task.standard:
            return True
        best_epoch = load_tensors(self._training_state(key), mapped=True)["best_epoch"]
        attacked: tuple[Which, ...] = ("best",) if best_epoch == epochs else ("best", "last")
        states = [_saved(self._attack_state(key, which)) for which in attacked]
        return all(state is not None and "pgd10" in state for state in states)

    def made(self, number: int, on_progress: Report | None = None) -> Member | StandardMember:
        """Train and attack the member of that number in the plan, from 0 on, or go on with it.

        One that is made is read back.
        """
        plan = self.plan()
        task = plan[number]

        def report(**what: Any) -> None:
            if on_progress is not None:
                on_progress(
                    VerificationProgress(task.label, task.seed, number + 1, len(plan), **what)
                )

        trained_on = self.trained_on(task.arm, task.seed)
        execution = devices.of_member(self.recipe.execution, number)
        key = self.key(task)
        fitted = fit(
            self.training(task),
            execution,
            trained_on,
            task.seed,
            self._training_state(key),
            lambda history: report(epoch=history[-1]),
        )
        if task.standard:
            return StandardMember(
                arm=task.arm,
                seed=task.seed,
                best_epoch=fitted.best_epoch,
                epochs=len(fitted.history),
                seconds=fitted.history[-1].seconds,
                best=self._clean(fitted.best, execution),
                last=self._clean(fitted.last, execution),
            )

        def attacked(weights: Weights, which: Which) -> Evaluation:
            return self._evaluate(weights, execution, self._attack_state(key, which), which, report)

        best = attacked(fitted.best, "best")
        # Where the last epoch is the best there is one network, and one evaluation of it.
        is_last = fitted.best_epoch == len(fitted.history)
        return Member(
            arm=task.arm,
            seed=task.seed,
            size=len(trained_on.rows),
            rows_sha256=rows_sha256(trained_on.rows),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
            best=best,
            last=best if is_last else attacked(fitted.last, "last"),
        )

    def training(self, task: Task) -> Training:
        """Return how a member is trained."""
        training = self.recipe.training
        return replace(training, method="standard") if task.standard else training

    def _training_state(self, key: str) -> Path:
        return self.state / f"{key}.pt"

    def _attack_state(self, key: str, which: Which) -> Path:
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
        return self.state / f"{key}.{which}.{attack}.json"

    def _net(self, weights: Weights) -> nn.Module:
        return rebuilt(weights, self.recipe.training.model, self.arms.classes, self.images.shape[3])

    def _clean(self, weights: Weights, execution: Execution) -> Accuracy:
        """Return the accuracy of a network on the unperturbed examples."""
        right = 0
        with devices.deterministic(execution) as device, torch.no_grad(), full_float32(device):
            net = self._net(weights).to(device)
            for start in range(0, len(self.tested), _CLEAN_BATCH):
                rows = self.tested[start : start + _CLEAN_BATCH]
                x = as_pixels(torch.from_numpy(self.test_images[rows]).to(device))
                predicted = net(x).argmax(dim=1).cpu().numpy()
                right += int(np.count_nonzero(predicted == self.test_labels[rows]))
        return Accuracy(right, len(self.tested))

    def _evaluate(
        self,
        weights: Weights,
        execution: Execution,
        path: Path,
        which: Which,
        report: Callable[..., None],
    ) -> Evaluation:
        recipe = self.recipe
        with devices.deterministic(execution) as device:
            shown = None if self.surrogate is None else self.surrogate.network().to(device)
            return evaluate(
                self._net(weights).to(device),
                self.test_images[self.tested],
                self.test_labels[self.tested],
                radius_255=recipe.radius,
                suite=recipe.suite,
                seed=seed64("attack", recipe.seed),
                dtype=execution.dtype,
                surrogate=shown,
                state=_saved(path),
                save=lambda state: write_json(path, state),
                progress=lambda name, done, total: report(
                    attack=f"{which}: {name}", done=done, total=total
                ),
            )


def rows_sha256(rows: I64) -> str:
    """Return the hash of a list of rows."""
    return sha256_bytes(rows.astype("<i8").tobytes())


def _saved(path: Path) -> AttackState | None:
    if not path.exists():
        return None
    state: AttackState = json.loads(path.read_text(encoding="utf-8"))
    return state
