"""Did the pruning help? Retrain on kept, all and random examples, attack, compare over seeds.

DESIGN: the arms of a pair share initial weights, selection set and attacked test examples, and
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
from datacurate.fingerprints import U64, mix64, seed64, sha256_bytes
from datacurate.nets import build, check_name
from datacurate.outputs import refuse_existing, write_json
from datacurate.profiling import for_images
from datacurate.ranks.statistics import (
    Verdict,
    assumed_difference_sd,
    mcnemar,
    minimum_detectable_effect,
    verdict,
)
from datacurate.recipes import VerifyRecipe, as_dict, recipe_hash
from datacurate.training import devices
from datacurate.training.claims import claimed, has_claim
from datacurate.training.history import EpochReport
from datacurate.training.loop import (
    Fit,
    TrainingData,
    Weights,
    fit,
    pixel_statistics,
    seconds_per_epoch,
)
from datacurate.training.methods import check_method

I64 = npt.NDArray[np.int64]
Which = Literal["best", "last"]


@dataclass(frozen=True)
class Member:
    """One trained network of one arm, evaluated.

    Attributes
    ----------
    arm : str
    seed : int
    size : int
        Examples trained on.
    best_epoch, epochs : int
        1-based epoch of the best checkpoint, and how many there were.
    seconds : float
        Of the training.
    best, last : Evaluation
        At the best checkpoint and after the last epoch; the same examples for every member.
    """

    arm: str
    seed: int
    size: int
    best_epoch: int
    epochs: int
    seconds: float
    best: Evaluation
    last: Evaluation


@dataclass(frozen=True)
class Comparison:
    """Kept against another arm, at the best checkpoints, in AutoAttack accuracy.

    Attributes
    ----------
    against : str
    verdict : Verdict
    mcnemar_p : tuple of float
        For each pair; see `datacurate.ranks.statistics.McNemar`.
    """

    against: str
    verdict: Verdict
    mcnemar_p: tuple[float, ...]


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes
    ----------
    recipe : VerifyRecipe
        Resolved.
    members : tuple of Member
    comparisons : tuple of Comparison
        Kept against every other arm.
    expected_detectable : float or None
        Smallest difference, in points, that was expected to be found in 80 % of repetitions, as
        stated before the run; see `stated_effect`.
    data, indices, hardware : mapping
        What was verified, and where.
    """

    recipe: VerifyRecipe
    members: tuple[Member, ...]
    comparisons: tuple[Comparison, ...]
    expected_detectable: float | None
    data: Mapping[str, Any]
    indices: Mapping[str, Any]
    hardware: Mapping[str, Any]

    def of(self, arm: str) -> list[Member]:
        """Return an arm's members, one a seed."""
        return [member for member in self.members if member.arm == arm]

    def against(self, arm: str) -> Comparison:
        """Return the comparison of kept with another arm."""
        return next(found for found in self.comparisons if found.against == arm)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single examples, for JSON."""
        return {
            "recipe": as_dict(self.recipe),
            "recipe_hash": recipe_hash(self.recipe),
            "data": dict(self.data),
            "indices": dict(self.indices),
            "hardware": dict(self.hardware),
            "selection": (
                "test examples (as the paper does: the best checkpoint has seen them)"
                if self.recipe.select == "test"
                else f"{self.recipe.held_out:.0%} of the training examples, held out of every arm"
            ),
            "expected_detectable_points": self.expected_detectable,
            "members": [
                {
                    "arm": member.arm,
                    "seed": member.seed,
                    "examples": member.size,
                    "best_epoch": member.best_epoch,
                    "epochs": member.epochs,
                    "seconds": round(member.seconds, 3),
                    "best": member.best.as_dict(),
                    "last": member.last.as_dict(),
                }
                for member in self.members
            ],
            "comparisons": [
                {
                    "kept_against": found.against,
                    **found.verdict.as_dict(),
                    "mcnemar_p": list(found.mcnemar_p),
                }
                for found in self.comparisons
            ],
        }


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


def held_out_rows(data: DataSet, fraction: float) -> I64:
    """Return a fixed, class-balanced fraction of the trainable rows, drawn by content hash.

    Equally many of each class, those whose mixed hash is smallest, so that the same images are
    held out whatever their order.

    Raises
    ------
    UsageError
        If a class would be left without a held-out or without a trained example.
    """
    rows = data.trainable
    labels = data.train.labels[rows]
    classes = data.train.identity.classes
    each = max(1, round(fraction * len(rows) / classes))
    lot = mix64(seed64("held-out"), _content(data)[rows])
    order = np.lexsort((lot, labels))
    counts = np.bincount(labels, minlength=classes)
    if counts.min() <= each:
        scarce = int(counts.argmin())
        raise UsageError(
            f"class {data.train.identity.class_names[scarce]!r} is too small to hold out {each}",
            expected=f"more than {each} examples of each class",
            got=str(int(counts[scarce])),
            hint="--set select=test chooses the best checkpoint on the test examples instead",
        )
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(rows[order[place < each]])


def arm_rows(
    arm: str, kept: I64, available: I64, labels: npt.NDArray[np.int64], content: U64, seed: int
) -> I64:
    """Return the rows that an arm is trained on, ascending.

    Parameters
    ----------
    arm : str
        See `datacurate.recipes.VerifyRecipe`.
    kept, available : ndarray of int64
        Of the available rows, those that were kept.
    labels, content : ndarray, shape (N,)
        Labels and content hashes of all rows.
    seed : int
        The random arms are drawn anew for every seed, so that the verdict does not hang on one
        lucky draw.
    """
    if arm == "all":
        return available
    if arm == "kept":
        return kept
    lot = mix64(seed64("arm", seed), content[available], available.astype(np.uint64))
    if arm == "random":
        return np.sort(available[np.argsort(lot, kind="stable")[: len(kept)]])
    wanted = np.bincount(labels[kept], minlength=int(labels.max()) + 1)
    there = labels[available]
    order = np.lexsort((lot, there))
    counts = np.bincount(there, minlength=len(wanted))
    place = np.arange(len(available)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(available[order[place < np.repeat(wanted, counts)]])


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
    _refuse_lost_class(kept, data)
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
        tested = choose_examples(_test_content(data), full.examples)
        members = []
        plan = [(seed, arm) for seed in range(full.seeds) for arm in full.arms]
        for number, (index, arm) in enumerate(plan, start=1):
            seed = full.seed + index
            rows = arm_rows(arm, kept_here, available, labels, _content(data), seed)
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
            seconds=_seconds(fitted),
            best=best,
            last=last,
        )

    def _evaluate(self, weights: Weights, which: Which) -> Evaluation:
        images = self.data.train.images
        net = build(
            self.recipe.training.model,
            self.data.train.identity.classes,
            images.shape[3],
            *pixel_statistics(images),
            seed=0,
        )
        net.load_state_dict(weights)
        path = self.state / f"{self.arm}-{self.seed}.{which}.json"
        saved: AttackState | None = None
        if path.exists():
            saved = json.loads(path.read_text(encoding="utf-8"))
        with devices.deterministic(self.recipe.execution) as device:
            return evaluate(
                net.eval().to(device),
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


def _seconds(fitted: Fit) -> float:
    return fitted.history[-1].seconds


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


def _refuse_lost_class(kept: I64, data: DataSet) -> None:
    identity = data.train.identity
    counts = np.bincount(data.train.labels[kept], minlength=identity.classes)
    lost = np.flatnonzero(counts == 0)
    if len(lost):
        raise UsageError(
            f"{len(lost)} classes have no kept example",
            got=", ".join(repr(identity.class_names[c]) for c in lost[:5]),
            hint="prune with --balanced or a --floor",
        )


def _content(data: DataSet) -> U64:
    content = data.train.identity.content_hash
    assert content is not None  # a data set with images has their hashes
    return content


def _test_content(data: DataSet) -> U64:
    content = data.test.identity.content_hash
    assert content is not None
    return content
