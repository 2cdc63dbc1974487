"""One member of a verification: a network trained on one arm with one seed, and attacked.

What a member leaves on the way lies in files named by everything that it depends on, so that the
same training is never made twice in one state folder, whatever asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from datacurate.attacks.outcome import AttackState
from datacurate.data import DataSet
from datacurate.evaluation import Evaluation, evaluate
from datacurate.fingerprints import configuration_hash, seed64, sha256_bytes
from datacurate.outputs import write_json
from datacurate.recipes import VerifyRecipe
from datacurate.training import devices
from datacurate.training.checkpoints import rebuilt
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Weights, fit
from datacurate.verification.arms import I64, Arms
from datacurate.verification.record import Member

Which = Literal["best", "last"]


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

    def plan(self) -> list[tuple[str, int]]:
        """Return arm and seed of every member, in the order in which they are made."""
        seeds = range(self.recipe.seed, self.recipe.seed + self.recipe.seeds)
        return [(arm, seed) for seed in seeds for arm in self.recipe.arms]

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

    def made(self, number: int, on_progress: Report | None = None) -> Member:
        """Train and attack the member of that number in the plan, from 1 on, or go on with it."""
        plan = self.plan()
        arm, seed = plan[number - 1]
        trained_on = self.trained_on(arm, seed)
        key = self._key(seed, trained_on.rows)

        def report(**what: Any) -> None:
            if on_progress is not None:
                on_progress(Progress(arm, seed, number, len(plan), **what))

        fitted = fit(
            self.recipe.training,
            self.recipe.execution,
            trained_on,
            seed,
            self.state / f"{key}.pt",
            lambda history: report(epoch=history[-1]),
        )
        best = self._evaluate(fitted.best, key, "best", report)
        # Where the last epoch is the best there is one network, and one evaluation of it.
        is_last = fitted.best_epoch == len(fitted.history)
        last = best if is_last else self._evaluate(fitted.last, key, "last", report)
        return Member(
            arm=arm,
            seed=seed,
            size=len(trained_on.rows),
            rows_sha256=rows_sha256(trained_on.rows),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
            best=best,
            last=last,
        )

    def _key(self, seed: int, rows: I64) -> str:
        """Return 16 hex digits that stand for everything a training depends on."""
        recipe = self.recipe
        return configuration_hash(
            {
                "training": asdict(recipe.training),
                "execution": asdict(recipe.execution),
                "seed": seed,
                "rows": rows_sha256(rows),
                "selected on": rows_sha256(self.arms.held_out),
            }
        )

    def _evaluate(
        self, weights: Weights, key: str, which: Which, report: Callable[..., None]
    ) -> Evaluation:
        recipe, identity = self.recipe, self.data.train.identity
        net = rebuilt(weights, recipe.training.model, identity.classes, identity.shape[2])
        attack = configuration_hash(
            {"suite": recipe.suite, "radius": recipe.radius, "examples": recipe.examples}
        )
        path = self.state / f"{key}.{which}.{attack}.json"
        saved: AttackState | None = None
        if path.exists():
            saved = json.loads(path.read_text(encoding="utf-8"))
        with devices.deterministic(recipe.execution) as device:
            return evaluate(
                net.to(device),
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
