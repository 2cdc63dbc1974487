"""Run a verification: every arm and seed trained, attacked, compared; resumable throughout.

The arms of a pair share initial weights, selection set and attacked test examples, and
differ only in what they are trained on. The verdict rests on the differences between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.evaluation import choose_examples
from datacurate.files.provenance import environment, now
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
from datacurate.training.claims import claimed, has_claim
from datacurate.training.loop import seconds_per_epoch
from datacurate.training.methods import check_method
from datacurate.verification.arms import Arms, GivenRows, arms_of, content_of, pairs
from datacurate.verification.members import Making, Report, rows_sha256
from datacurate.verification.record import Comparison, Member, Verification


def resolved(recipe: VerifyRecipe, data: DataSet) -> VerifyRecipe:
    """Return a recipe with nothing left to the machine or the data.

    Raises
    ------
    UnknownNameError
        For a network or a method that does not exist.
    """
    check_name(recipe.training.model)
    check_method(recipe.training)
    return replace(
        recipe,
        training=for_images(recipe.training, data),
        execution=devices.resolve(recipe.execution),
    )


def stated_effect(recipe: VerifyRecipe, data: DataSet) -> float | None:
    """Return the difference in points that a recipe can be expected to find, before it runs."""
    examples = min(recipe.examples or len(data.test), len(data.test))
    return minimum_detectable_effect(recipe.seeds, assumed_difference_sd(examples))


def estimated_seconds(recipe: VerifyRecipe, data: DataSet, given: Mapping[str, GivenRows]) -> float:
    """Return an estimate of the time of a verification's trainings, from a few real steps."""
    full = resolved(recipe, data)
    arms = arms_of(full, data, given)
    making = Making(full, data, arms, choose_examples(content_of(data.test), 1), Path())
    largest = max(full.arms, key=arms.size)
    epoch = seconds_per_epoch(full.training, full.execution, making.trained_on(largest, full.seed))
    shares = [arms.size(arm) / arms.size(largest) for arm in full.arms]
    return epoch * full.training.epochs * full.seeds * sum(shares)


def verify(
    recipe: VerifyRecipe,
    data: DataSet,
    given: Mapping[str, GivenRows],
    out: Path,
    *,
    force: bool = False,
    on_progress: Report | None = None,
) -> Verification:
    """Retrain every arm, evaluate best and last checkpoints, and judge the differences.

    Killed at any moment, the same call goes on where it stopped: trainings at their last epoch,
    attacks after the last finished one. The state lies in a folder beside `out` and is removed at
    the end.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    given : mapping of str to GivenRows
        The rows of the arm ``"kept"`` and of the user's own arms. That they belong to this data
        is for the caller to check; see `datacurate.files.indexfile`.
    out : Path
        The record, JSON.
    force : bool
        Replace what is at `out`, and forget the state of an unfinished verification there.
    on_progress : callable, optional

    Raises
    ------
    OutputExistsError, OutputBusyError
        If `out` is there already, or another process is working on it.
    StateError
        If there is an unfinished verification of something else.
    UsageError, UnknownNameError
        If the arms do not hold; see `datacurate.verification.arms.arms_of`.
    """
    refuse_existing(out, force)
    identity = data.train.identity
    arms = arms_of(recipe, data, given)
    state = state_directory(out)
    work = {
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
        "arms": {name: rows_sha256(arm.rows) for name, arm in given.items()},
    }
    with claimed(state, recipe, work, lambda r: resolved(r, data), out, force) as full:
        tested = choose_examples(content_of(data.test), full.examples)
        making = Making(full, data, arms, tested, state)
        members = [making.made(number, on_progress) for number in range(1, len(making.plan()) + 1)]
        found = Verification(
            recipe=full,
            members=tuple(members),
            comparisons=tuple(_compare(members, *pair, len(tested)) for pair in pairs(full)),
            expected_detectable=stated_effect(recipe, data),
            data={
                "name": identity.name,
                "train": len(identity),
                "labels": identity.label_fingerprint,
                "pixels": identity.pixel_fingerprint,
                "attacked": len(tested),
                "attacked_rows_sha256": rows_sha256(tested),
                "held_out": len(arms.held_out),
                "source": data.train.stated_source,
            },
            arms={arm: _about(arm, arms, given) for arm in full.arms},
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


def _about(arm: str, arms: Arms, given: Mapping[str, GivenRows]) -> dict[str, Any]:
    about: dict[str, Any] = {"trained_on": arms.size(arm)}
    if arm in given:
        rows = given[arm].rows
        about |= {**given[arm].about, "given": len(rows), "given_rows_sha256": rows_sha256(rows)}
    return about


def _compare(members: list[Member], judged: str, against: str, n: int) -> Comparison:
    first = {member.seed: member.best for member in members if member.arm == judged}
    second = {member.seed: member.best for member in members if member.arm == against}
    seeds = sorted(first)
    gains = [first[seed].robust.percent - second[seed].robust.percent for seed in seeds]
    within = [mcnemar(first[seed].outcome.robust, second[seed].outcome.robust).p for seed in seeds]
    return Comparison(judged, against, verdict(gains, n), tuple(within))
