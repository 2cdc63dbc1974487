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

from datacurate.attacks.outcome import AttackState
from datacurate.data import DataSet
from datacurate.data.batches import as_pixels
from datacurate.evaluation import Evaluation, evaluate
from datacurate.fingerprints import configuration_hash, seed64, sha256_bytes
from datacurate.outputs import write_json
from datacurate.ranks.statistics import Accuracy
from datacurate.recipes import Training, VerifyRecipe
from datacurate.training import devices
from datacurate.training.checkpoints import rebuilt
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Fit, Weights, fit
from datacurate.verification.arms import I64, Arms
from datacurate.verification.found import Member, StandardMember

Which = Literal["best", "last"]

_CLEAN_BATCH = 500


@dataclass(frozen=True)
class Progress:
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
    """

    arm: str
    seed: int
    member: int
    members: int
    epoch: EpochReport | None = None
    attack: str = ""
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


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
    data : DataSet
    arms : Arms
    tested : ndarray of int64
        Rows of the test split that are attacked.
    state : Path
        Where unfinished members leave what they have.
    """

    recipe: VerifyRecipe
    data: DataSet
    arms: Arms
    tested: I64
    state: Path

    def plan(self) -> list[Task]:
        """Return every member, in the order in which they are made: pairs beside each other."""
        seeds = range(self.recipe.seed, self.recipe.seed + self.recipe.seeds)
        tasks = [Task(arm, seed) for seed in seeds for arm in self.recipe.arms]
        return tasks + [replace(task, standard=True) for task in tasks if self.recipe.standard]

    def trained_on(self, arm: str, seed: int) -> TrainingData:
        """Return what a member sees."""
        chosen_on: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
        train, test, held_out = self.data.train, self.data.test, self.arms.held_out
        if self.recipe.select == "test":
            chosen_on = test.images, test.labels
        else:
            chosen_on = train.images[held_out], train.labels[held_out]
        return TrainingData(
            images=train.images,
            labels=train.labels,
            rows=self.arms.rows(arm, seed),
            selection_images=chosen_on[0],
            selection_labels=chosen_on[1],
            classes=train.identity.classes,
        )

    def made(self, number: int, on_progress: Report | None = None) -> Member | StandardMember:
        """Train and attack the member of that number in the plan, from 0 on, or go on with it."""
        plan = self.plan()
        task = plan[number]

        def report(**what: Any) -> None:
            if on_progress is not None:
                on_progress(Progress(task.label, task.seed, number + 1, len(plan), **what))

        trained_on = self.trained_on(task.arm, task.seed)
        training = self.recipe.training
        if task.standard:
            training = replace(training, method="standard")
        key = self._key(training, task.seed, trained_on.rows)
        fitted = fit(
            training,
            self.recipe.execution,
            trained_on,
            task.seed,
            self.state / f"{key}.pt",
            lambda history: report(epoch=history[-1]),
        )
        if task.standard:
            return StandardMember(
                arm=task.arm,
                seed=task.seed,
                best_epoch=fitted.best_epoch,
                epochs=len(fitted.history),
                seconds=fitted.history[-1].seconds,
                best=self._clean(fitted.best),
                last=self._clean(fitted.last),
            )
        return self._attacked(task, fitted, key, trained_on.rows, report)

    def _attacked(
        self, task: Task, fitted: Fit, key: str, rows: I64, report: Callable[..., None]
    ) -> Member:
        best = self._evaluate(fitted.best, key, "best", report)
        # Where the last epoch is the best there is one network, and one evaluation of it.
        is_last = fitted.best_epoch == len(fitted.history)
        last = best if is_last else self._evaluate(fitted.last, key, "last", report)
        return Member(
            arm=task.arm,
            seed=task.seed,
            size=len(rows),
            rows_sha256=rows_sha256(rows),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
            best=best,
            last=last,
        )

    def _key(self, training: Training, seed: int, rows: I64) -> str:
        """Return 16 hex digits that stand for everything a training depends on."""
        return configuration_hash(
            {
                "training": asdict(training),
                "execution": asdict(self.recipe.execution),
                "seed": seed,
                "rows": rows_sha256(rows),
                "selected on": rows_sha256(self.arms.held_out),
            }
        )

    def _net(self, weights: Weights) -> nn.Module:
        identity = self.data.train.identity
        return rebuilt(weights, self.recipe.training.model, identity.classes, identity.shape[2])

    def _clean(self, weights: Weights) -> Accuracy:
        """Return the accuracy of a network on the unperturbed examples."""
        right = 0
        with devices.deterministic(self.recipe.execution) as device, torch.no_grad():
            net = self._net(weights).to(device)
            for start in range(0, len(self.tested), _CLEAN_BATCH):
                rows = self.tested[start : start + _CLEAN_BATCH]
                x = as_pixels(torch.from_numpy(self.data.test.images[rows]).to(device))
                predicted = net(x).argmax(dim=1).cpu().numpy()
                right += int(np.count_nonzero(predicted == self.data.test.labels[rows]))
        return Accuracy(right, len(self.tested))

    def _evaluate(
        self, weights: Weights, key: str, which: Which, report: Callable[..., None]
    ) -> Evaluation:
        recipe = self.recipe
        attack = configuration_hash(
            {"suite": recipe.suite, "radius": recipe.radius, "examples": recipe.examples}
        )
        path = self.state / f"{key}.{which}.{attack}.json"
        saved: AttackState | None = None
        if path.exists():
            saved = json.loads(path.read_text(encoding="utf-8"))
        with devices.deterministic(recipe.execution) as device:
            return evaluate(
                self._net(weights).to(device),
                self.data.test.images[self.tested],
                self.data.test.labels[self.tested],
                radius_255=recipe.radius,
                suite=recipe.suite,
                seed=seed64("attack", recipe.seed),
                state=saved,
                save=lambda state: write_json(path, state),
                progress=lambda name, done, total: report(
                    attack=f"{which}: {name}", done=done, total=total
                ),
            )


def rows_sha256(rows: I64) -> str:
    """Return the hash of a list of rows."""
    return sha256_bytes(rows.astype("<i8").tobytes())
