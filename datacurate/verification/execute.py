"""Run a verification: every arm and seed trained, attacked, compared; resumable throughout.

The arms of a pair share initial weights, selection set and attacked test examples, and
differ only in what they are trained on. The verdict rests on the differences between them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datacurate.attacks.suites import plan
from datacurate.data import DataSet
from datacurate.errors import OutputError, UsageError
from datacurate.evaluation import choose_examples
from datacurate.fingerprints import configuration_hash
from datacurate.formats.provenance import now
from datacurate.machine import environment
from datacurate.nets import check_name
from datacurate.outputs import only_writer, refuse_existing, write_json, write_text
from datacurate.profiling import for_images, training_data
from datacurate.ranks.statistics import (
    assumed_difference_sd,
    minimum_detectable_effect,
    simultaneous_level,
)
from datacurate.recipes import VerifyRecipe
from datacurate.training import devices, kernels
from datacurate.training.loop import pace
from datacurate.training.methods import check_method
from datacurate.verification.arms import Arms, GivenRows, arms_of, content_of, pairs
from datacurate.verification.comparing import compared
from datacurate.verification.concurrency import all_made
from datacurate.verification.record import as_record, seeds_of
from datacurate.verification.results import Member, StandardMember, Verification
from datacurate.verification.surrogate import Surrogate, surrogate_for
from datacurate.verification.table import as_markdown
from datacurate.verification.trainings import Making, Report, Task, rows_sha256
from datacurate.workers.local import limited
from datacurate.workers.workspace import claimed, has_claim, resolved_before


def resolved(recipe: VerifyRecipe, data: DataSet, parallel: int = 1) -> VerifyRecipe:
    """Return a recipe with nothing left to the machine or the data.

    Threads left open are all cores, shared by as many members as go on at a time.

    Raises
    ------
    UnknownNameError
        For a network, a method or an attack suite that does not exist.
    UsageError
        If standard trainings are asked for beside standard trainings, or fewer than one member is
        to go on at a time.
    """
    check_name(recipe.training.model)
    check_method(recipe.training)
    plan(recipe.suite, data.train.identity.classes)
    if recipe.standard and recipe.training.method == "standard":
        raise UsageError(
            "the trainings are standard ones already", hint="--set standard=false compares them"
        )
    return replace(
        recipe,
        training=for_images(recipe.training, data),
        execution=decided(recipe, data, parallel).execution,
    )


def decided(
    recipe: VerifyRecipe,
    data: DataSet,
    parallel: int = 1,
    tell: Callable[[str], None] | None = None,
) -> kernels.Decision:
    """Return where and with which kernels trainings run; see `datacurate.training.kernels`."""
    return kernels.decide(
        recipe.execution,
        for_images(recipe.training, data),
        training_data(data),
        runs=recipe.seeds * len(recipe.arms),
        at_once=at_once(recipe, parallel),
        tell=tell,
    )


def planned(
    recipe: VerifyRecipe, data: DataSet, out: Path, *, force: bool = False, parallel: int = 1
) -> VerifyRecipe:
    """Return the resolved recipe that `verify` will follow.

    Where it runs is decided already if there is unfinished work, of it or of a sweep that it is
    part of.
    """
    before = None if force else resolved_before(state_directory(out), VerifyRecipe)
    if before is None:
        return resolved(recipe, data, parallel)
    training = for_images(recipe.training, data)
    return replace(recipe, training=training, execution=before.execution)


def at_once(recipe: VerifyRecipe, parallel: int) -> int:
    """Return how many members go on at a time where `parallel` are asked for.

    Raises
    ------
    UsageError
        For fewer than one.
    """
    return limited(parallel, recipe.seeds * len(recipe.arms) * (1 + recipe.standard))


def stated_effect(recipe: VerifyRecipe, data: DataSet) -> float | None:
    """Return the difference in points that a recipe can be expected to find, before it runs."""
    examples = min(recipe.examples or len(data.test), len(data.test))
    level = simultaneous_level(len(pairs(recipe)))
    spread = assumed_difference_sd(examples)
    return minimum_detectable_effect(recipe.seeds, spread, level=level)


def estimated_seconds(
    recipe: VerifyRecipe,
    data: DataSet,
    given: Mapping[str, GivenRows],
    parallel: int = 1,
    trainings: Path | None = None,
) -> float:
    """Return an estimate of the time of a verification's trainings, from a few real steps.

    Those that are kept in `trainings` take none. Those that go on at a time are taken not to slow
    each other down where there is enough of the machine for all.
    """
    full = resolved(recipe, data, parallel)
    arms = arms_of(full, data, given)
    making = _making(full, data, arms, trainings or Path())
    largest = max(full.arms, key=arms.size)
    together = at_once(full, parallel)
    speed = together / devices.crowding(full.execution, together)
    seconds = 0.0
    tasks = {making.key(task): task for task in making.plan()}
    for standard in (False, True):
        epochs = sum(
            (full.training.epochs - making.trained(key)) * arms.size(task.arm) / arms.size(largest)
            for key, task in tasks.items()
            if task.standard == standard
        )
        if epochs:
            task = Task(largest, full.seed, standard)
            found = pace(
                making.training(task), full.execution, making.trained_on(largest, full.seed)
            )
            seconds += found.setup_seconds + found.epoch_seconds * epochs / speed
    return seconds


def verify(
    recipe: VerifyRecipe,
    data: DataSet,
    given: Mapping[str, GivenRows],
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    command: Sequence[str] = (),
    trainings: Path | None = None,
    surrogate: Path | None = None,
    on_progress: Report | None = None,
) -> Verification:
    """Retrain every arm, evaluate best and last checkpoints, and judge the differences.

    Killed at any moment, the same call goes on where it stopped: trainings at their last epoch,
    attacks after the last finished one. The state lies in a folder beside `out` and is removed at
    the end; with `trainings` that of the members stays.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    given : mapping of str to GivenRows
        The rows of the arm ``"kept"`` and of the user's own arms. That they belong to this data
        is for the caller to check; see `datacurate.formats.indexfile`.
    out : Path
        The record, JSON; for people it is written beside it in Markdown.
    force : bool
        Replace what is at `out`, and forget the state of an unfinished verification there.
    parallel : int
        How many members are trained and attacked at a time, each in a process of its own. It
        changes nothing in the record but times, and the same call may go on with another number;
        threads that the recipe leaves open are shared by as many members as the first call asked
        for.
    command : sequence of str
        The command line, for the record.
    trainings : Path, optional
        A folder, made if missing, in which trainings and attacks are kept. What another
        verification left there of the same data, rows, recipe of training, kernels, seed and
        version of torch is not made again.
    surrogate : Path, optional
        The checkpoint for which the suite ``"transfer"`` makes its examples.
    on_progress : callable, optional

    Raises
    ------
    OutputExistsError, OutputBusyError
        If `out` is there already, or another process is working on it or in `trainings`.
    OutputError
        If `trainings` cannot be made.
    StateError
        If there is an unfinished verification of something else.
    TrainingError
        If a training diverges or runs out of memory, or its process ends without a word; what was
        saved before stays.
    UsageError, UnknownNameError
        If the arms do not hold, see `datacurate.verification.arms.arms_of`; for `parallel` below
        one; for a suite without the surrogate that it needs.
    CheckpointError
        If the surrogate is none, or not for this data.
    """
    refuse_existing_record(out, force)
    identity = data.train.identity
    arms = arms_of(recipe, data, given)
    shown = surrogate_for(recipe, data, surrogate)
    state = state_directory(out)
    if trainings is not None and trainings.resolve() == state.resolve():
        raise UsageError(
            f"{trainings} is removed when {out} is done: trainings cannot be kept there",
            hint="choose another --trainings",
        )
    work = {
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
        "arms": {name: rows_sha256(arm.rows) for name, arm in given.items()},
        **({} if shown is None else {"surrogate": shown.sha256}),
    }

    together = at_once(recipe, parallel)

    def settled(asked: VerifyRecipe) -> VerifyRecipe:
        kernels.keep(decided(asked, data, together), state)
        return resolved(asked, data, together)

    with (
        claimed(state, recipe, work, settled, out, force) as full,
        _kept_in(trainings or state) as folder,
    ):
        making = _making(full, data, arms, folder, shown)
        made = all_made(making, together, on_progress)
        members = tuple(member for member in made if isinstance(member, Member))
        robust = {(member.arm, member.seed): member.best.outcome.robust for member in members}
        found = Verification(
            recipe=full,
            members=members,
            standard=tuple(member for member in made if isinstance(member, StandardMember)),
            comparisons=compared(robust, pairs(full), seeds_of(full)),
            expected_detectable=stated_effect(recipe, data),
            data={
                "name": identity.name,
                "train": len(identity),
                "labels": identity.label_fingerprint,
                "pixels": identity.pixel_fingerprint,
                "attacked": len(making.tested),
                "attacked_rows_sha256": rows_sha256(making.tested),
                "held_out": len(arms.held_out),
                "source": data.train.stated_source,
                **({} if shown is None else {"surrogate": shown.about()}),
            },
            arms={arm: _about(arm, arms, given) for arm in full.arms},
            hardware={
                **environment(),
                "device": devices.describe(full.execution),
                **kernels.kept(state),
                "created": now(),
            },
            command=command,
        )
        # The record is written last: whoever finds it finds its table too.
        write_text(table_path(out), as_markdown(found))
        write_json(out, as_record(found))
    return found


def refuse_existing_record(out: Path, force: bool) -> None:
    """Raise unless a record and its table may be written.

    Raises
    ------
    OutputError
        As for `datacurate.outputs.refuse_existing`, for either.
    UsageError
        If they would be one file.
    """
    if out == table_path(out):
        raise UsageError(f"the record cannot be {out}", expected="a file that ends in .json")
    refuse_existing(out, force)
    refuse_existing(table_path(out), force)


def table_path(out: Path) -> Path:
    """Return where the table of a record lies."""
    return out.with_suffix(".md")


def is_unfinished(out: Path) -> bool:
    """Return whether a verification that leads to `out` was begun and not ended."""
    return has_claim(state_directory(out))


def state_directory(out: Path) -> Path:
    """Return where the state of an unfinished verification lies."""
    return out.with_suffix(".state")


@contextlib.contextmanager
def _kept_in(folder: Path) -> Iterator[Path]:
    """Make the folder of the members' state if it is missing, and hold it for a block."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} for trainings cannot be made: {error.strerror}",
            expected="a folder, or a name for one in a folder that can be written",
        ) from error
    with only_writer(folder / "members.lock", f"the trainings in {folder}"):
        yield folder


def _making(
    recipe: VerifyRecipe,
    data: DataSet,
    arms: Arms,
    state: Path,
    surrogate: Surrogate | None = None,
) -> Making:
    test = data.test
    both = [data.train.identity, test.identity]
    return Making(
        recipe=recipe,
        arms=arms,
        images=data.train.images,
        test_images=test.images,
        test_labels=test.labels,
        tested=choose_examples(content_of(test), recipe.examples),
        data=configuration_hash([[i.label_fingerprint, i.pixel_fingerprint] for i in both]),
        state=state,
        surrogate=surrogate,
    )


def _about(arm: str, arms: Arms, given: Mapping[str, GivenRows]) -> dict[str, Any]:
    about: dict[str, Any] = {"trained_on": arms.size(arm)}
    if arm in given:
        rows = given[arm].rows
        about |= {**given[arm].about, "given": len(rows), "given_rows_sha256": rows_sha256(rows)}
    return about
