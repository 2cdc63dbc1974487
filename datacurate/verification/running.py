"""Run a verification: every arm and seed trained, attacked, compared; resumable throughout.

The arms of a pair share initial weights, selection set and attacked test examples, and
differ only in what they are trained on. The verdict rests on the differences between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from datacurate.attacks.outcome import AttackState
from datacurate.data import DataSet
from datacurate.errors import UsageError
from datacurate.evaluation import Evaluation, choose_examples, evaluate
from datacurate.files.provenance import environment, now
from datacurate.fingerprints import seed64, sha256_bytes
from datacurate.nets import check_name
from datacurate.outputs import refuse_existing, write_json
from datacurate.profiling import for_images
from datacurate.ranks.statistics import (
    assumed_difference_sd,
    mcnemar,
    minimum_detectable_effect,
    verdict,
)
from datacurate.recipes import VerifyRecipe
from datacurate.training import devices
from datacurate.training.checkpoints import rebuilt
from datacurate.training.claims import claimed, has_claim
from datacurate.training.examples import TrainingData
from datacurate.training.history import EpochReport
from datacurate.training.loop import Weights, fit, seconds_per_epoch
from datacurate.training.methods import check_method
from datacurate.verification.arms import (
    I64,
    arm_rows,
    content_of,
    held_out_rows,
    refuse_lost_class,
)
from datacurate.verification.record import Comparison, Member, Verification

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


def resolved(recipe: VerifyRecipe, data: DataSet) -> VerifyRecipe:
    """Return a recipe with nothing left to the machine or the data.

    Raises
    ------
    UnknownNameError
        For a network or a method that does not exist.
    UsageError
        If the arm of kept examples is missing.
    """
    check_name(recipe.training.model)
    check_method(recipe.training)
    if "kept" not in recipe.arms or len(set(recipe.arms)) != len(recipe.arms):
        raise UsageError(
            "a verification needs the arm 'kept', and each arm once",
            expected="arms=all,kept,random",
            got=",".join(recipe.arms),
        )
    return replace(
        recipe,
        training=for_images(recipe.training, data),
        execution=devices.resolve(recipe.execution),
    )


def stated_effect(recipe: VerifyRecipe, data: DataSet) -> float | None:
    """Return the difference in points that a recipe can be expected to find, before it runs."""
    examples = min(recipe.examples or len(data.test), len(data.test))
    return minimum_detectable_effect(recipe.seeds, assumed_difference_sd(examples))


def estimated_seconds(recipe: VerifyRecipe, data: DataSet, kept: I64) -> float:
    """Return an estimate of the time of a verification's trainings, from a few real steps."""
    full = resolved(recipe, data)
    everything = _training_data(data, data.trainable, data.test.images, data.test.labels)
    epoch = seconds_per_epoch(full.training, full.execution, everything)
    shares = [1.0 if arm == "all" else len(kept) / len(data.trainable) for arm in full.arms]
    return epoch * full.training.epochs * full.seeds * sum(shares)


def verify(
    recipe: VerifyRecipe,
    data: DataSet,
    kept: I64,
    out: Path,
    *,
    about_indices: Mapping[str, Any],
    force: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Verification:
    """Retrain every arm, evaluate best and last checkpoints, and judge the differences.

    Killed at any moment, the same call goes on where it stopped: trainings at their last epoch,
    attacks after the last finished one. The state lies in a folder beside `out` and is removed at
    the end.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    kept : ndarray of int64, shape (K,)
        Rows of the training split, ascending. That they belong to this data is for the caller to
        check; see `datacurate.files.indexfile`.
    out : Path
        The record, JSON.
    about_indices : mapping
        Where `kept` comes from, for the record.
    force : bool
        Replace what is at `out`, and forget the state of an unfinished verification there.
    on_progress : callable, optional

    Raises
    ------
    OutputExistsError, OutputBusyError
        If `out` is there already, or another process is working on it.
    StateError
        If there is an unfinished verification of something else.
    UsageError
        If a class has no kept example.
    """
    refuse_existing(out, force)
    identity = data.train.identity
    labels = data.train.labels
    refuse_lost_class(kept, data)
    state = state_directory(out)
    work = {
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
        "kept": sha256_bytes(kept.astype("<i8").tobytes()),
    }
    with claimed(state, recipe, work, lambda r: resolved(r, data), out, force) as full:
        selected = held_out_rows(data, full.held_out)
        if full.select == "test":
            selected = np.empty(0, dtype=np.int64)
        available = np.setdiff1d(data.trainable, selected)
        kept_here = np.intersect1d(kept, available)
        if full.select == "test":
            choose_on = (data.test.images, data.test.labels)
        else:
            choose_on = (data.train.images[selected], labels[selected])
        tested = choose_examples(content_of(data.test), full.examples)
        members = []
        plan = [(seed, arm) for seed in range(full.seeds) for arm in full.arms]
        for number, (index, arm) in enumerate(plan, start=1):
            seed = full.seed + index
            rows = arm_rows(arm, kept_here, available, labels, content_of(data.train), seed)
            member = _Work(full, data, tested, state, arm, seed, number, len(plan), on_progress)
            members.append(member.made(_training_data(data, rows, *choose_on)))
        found = Verification(
            recipe=full,
            members=tuple(members),
            comparisons=tuple(
                _compare(members, arm, len(tested)) for arm in full.arms if arm != "kept"
            ),
            expected_detectable=stated_effect(recipe, data),
            data={
                "name": identity.name,
                "train": len(identity),
                "labels": identity.label_fingerprint,
                "pixels": identity.pixel_fingerprint,
                "attacked": len(tested),
                "held_out": len(selected),
                "source": data.train.stated_source,
            },
            indices={**about_indices, "kept": len(kept), "trained_on": len(kept_here)},
            hardware={
                **environment(),
                "device": devices.describe(full.execution),
                "created": now(),
            },
        )
        write_json(out, found.as_dict())
    return found


def is_unfinished(out: Path) -> bool:
    """Return whether a verification that leads to `out` was begun and not ended."""
    return has_claim(state_directory(out))


def state_directory(out: Path) -> Path:
    """Return where the state of an unfinished verification lies."""
    return out.with_suffix(".state")


@dataclass(frozen=True)
class _Work:
    """One member in the making."""

    recipe: VerifyRecipe
    data: DataSet
    tested: I64
    state: Path
    arm: str
    seed: int
    number: int
    of: int
    on_progress: Callable[[Progress], None] | None

    def made(self, trained_on: TrainingData) -> Member:
        fitted = fit(
            self.recipe.training,
            self.recipe.execution,
            trained_on,
            self.seed,
            self.state / f"{self.arm}-{self.seed}.pt",
            lambda history: self._report(epoch=history[-1]),
        )
        best = self._evaluate(fitted.best, "best")
        # Where the last epoch is the best there is one network, and one evaluation of it.
        is_last = fitted.best_epoch == len(fitted.history)
        last = best if is_last else self._evaluate(fitted.last, "last")
        return Member(
            arm=self.arm,
            seed=self.seed,
            size=len(trained_on.rows),
            best_epoch=fitted.best_epoch,
            epochs=len(fitted.history),
            seconds=fitted.history[-1].seconds,
            best=best,
            last=last,
        )

    def _evaluate(self, weights: Weights, which: Which) -> Evaluation:
        identity = self.data.train.identity
        net = rebuilt(weights, self.recipe.training.model, identity.classes, identity.shape[2])
        path = self.state / f"{self.arm}-{self.seed}.{which}.json"
        saved: AttackState | None = None
        if path.exists():
            saved = json.loads(path.read_text(encoding="utf-8"))
        with devices.deterministic(self.recipe.execution) as device:
            return evaluate(
                net.to(device),
                self.data.test.images[self.tested],
                self.data.test.labels[self.tested],
                radius_255=self.recipe.radius,
                suite=self.recipe.suite,
                seed=seed64("attack", self.recipe.seed),
                state=saved,
                save=lambda state: write_json(path, state),
                progress=lambda attack, done, total: self._report(
                    attack=f"{which}: {attack}", done=done, total=total
                ),
            )

    def _report(self, **what: Any) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(self.arm, self.seed, self.number, self.of, **what))


def _training_data(
    data: DataSet, rows: I64, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> TrainingData:
    return TrainingData(
        images=data.train.images,
        labels=data.train.labels,
        rows=rows,
        selection_images=images,
        selection_labels=labels,
        classes=data.train.identity.classes,
    )


def _compare(members: list[Member], against: str, n: int) -> Comparison:
    kept = {member.seed: member.best for member in members if member.arm == "kept"}
    other = {member.seed: member.best for member in members if member.arm == against}
    gains = [kept[seed].robust.percent - other[seed].robust.percent for seed in sorted(kept)]
    within = [
        mcnemar(kept[seed].outcome.robust, other[seed].outcome.robust).p for seed in sorted(kept)
    ]
    return Comparison(against, verdict(gains, n), tuple(within))
