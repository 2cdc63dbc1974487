"""Run a verification: train every arm with every seed, attack, compare; resumable throughout.

The arms of a seed share initial weights, selection set and attacked test examples. They differ only
in the examples that they train on. The verdict rests on the differences between them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.errors import OutputError
from datacurate.formats.provenance import now
from datacurate.machine import environment
from datacurate.outputs import only_writer, write_json, write_text
from datacurate.recipes import VerifyRecipe
from datacurate.training import devices
from datacurate.verification.arms import Arms, GivenRows, pairs
from datacurate.verification.comparing import compare_arms
from datacurate.verification.concurrency import run_units
from datacurate.verification.plan import VerificationPlan, plan, table_path
from datacurate.verification.record import as_record, seeds_of
from datacurate.verification.results import StandardNetwork, TrainedNetwork, Verification
from datacurate.verification.table import as_markdown
from datacurate.verification.trainings import OnProgress, Trainings, rows_sha256
from datacurate.workers.workspace import kernel_trials, open_workspace


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
    on_progress: OnProgress | None = None,
) -> Verification:
    """Plan a verification and run it; see `plan` and `run`.

    The parameters are those of the command, so there are more than eight.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    given : mapping of str to GivenRows
        The rows of the arm ``"kept"`` and of the user's own arms. The caller has checked that they
        belong to this data; see `datacurate.formats.indexfile`.
    out : Path
        The record, JSON. Its table is written beside it in Markdown.
    force : bool
        Replace what is at `out`, and forget unfinished work there.
    parallel : int
        How many trainings run at a time with their attacks, each in a process. It changes nothing
        in the record but times, and the same call may continue with another number. The first call
        divides the cores among the trainings.
    command : sequence of str
        The command line, for the record.
    trainings : Path, optional
        A folder in which trainings and attacks are kept; created if missing. Trainings of the same
        data, rows, recipe, kernels, seed and version of torch that are there already are used.
    surrogate : Path, optional
        Checkpoint for which the suite ``"transfer"`` crafts its examples.
    on_progress : callable, optional

    Returns
    -------
    Verification
        As written.

    Raises
    ------
    OutputExistsError, UsageError, UnknownNameError, CheckpointError
        As `plan` does.
    OutputBusyError, OutputError, StateError, TrainingError
        As `run` does.
    """
    planned = plan(
        recipe,
        data,
        given,
        out,
        force=force,
        parallel=parallel,
        trainings=trainings,
        surrogate=surrogate,
    )
    return run(planned, command=command, on_progress=on_progress)


def run(
    plan: VerificationPlan,
    *,
    command: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> Verification:
    """Train every arm, evaluate best and last checkpoints, compare, and write the record.

    Killed at any moment, the same call continues: trainings at their last epoch, attacks after the
    last finished one. The workspace is removed at the end; a folder of kept trainings stays.

    Parameters
    ----------
    plan : VerificationPlan
    command : sequence of str
        The command line, for the record.
    on_progress : callable, optional

    Returns
    -------
    Verification
        As written.

    Raises
    ------
    OutputBusyError
        If another process works on the same record or in the same folder of trainings.
    OutputError
        If the folder of trainings cannot be created.
    StateError
        If there is an unfinished verification of something else.
    TrainingError
        If a training diverges or runs out of memory, or its process dies. Saved work is kept.
    """
    with (
        open_workspace(
            plan.workspace,
            plan.requested,
            plan.recipe,
            plan.work,
            plan.out,
            force=plan.force,
            kernels=plan.execution.trials,
        ) as recipe,
        _hold_folder(plan.trainings or plan.workspace) as folder,
    ):
        trainings = plan.all_trainings(folder, recipe)
        networks = run_units(trainings, plan.concurrency, on_progress)
        verification = _compare(plan, trainings, networks, command)
        # The record is written last, so that its table exists whenever it does.
        write_text(table_path(plan.out), as_markdown(verification))
        write_json(plan.out, as_record(verification))
    return verification


def _compare(
    plan: VerificationPlan,
    trainings: Trainings,
    networks: Sequence[TrainedNetwork | StandardNetwork],
    command: Sequence[str],
) -> Verification:
    recipe = trainings.recipe
    trained = tuple(network for network in networks if isinstance(network, TrainedNetwork))
    robust = {(network.arm, network.seed): network.best.outcome.robust for network in trained}
    hardware = {**environment(), "device": devices.describe(recipe.execution)}
    trials = kernel_trials(plan.workspace)
    if trials is not None:
        hardware["kernels"] = trials
    return Verification(
        recipe=recipe,
        networks=trained,
        standard=tuple(network for network in networks if isinstance(network, StandardNetwork)),
        comparisons=compare_arms(robust, pairs(recipe), seeds_of(recipe)),
        expected_detectable=plan.detectable_effect(),
        data=_describe_data(plan, trainings),
        arms={arm: _describe_arm(arm, plan.arms, plan.given) for arm in recipe.arms},
        hardware={**hardware, "created": now()},
        command=command,
    )


def _describe_data(plan: VerificationPlan, trainings: Trainings) -> dict[str, Any]:
    identity = plan.data.train.identity
    surrogate = {} if plan.surrogate is None else {"surrogate": plan.surrogate.describe()}
    return {
        "name": identity.name,
        "train": len(identity),
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
        "attacked": len(trainings.attacked_rows),
        "attacked_rows_sha256": rows_sha256(trainings.attacked_rows),
        "held_out": len(plan.arms.held_out),
        "source": plan.data.train.stated_source,
        **surrogate,
    }


def _describe_arm(arm: str, arms: Arms, given: Mapping[str, GivenRows]) -> dict[str, Any]:
    about: dict[str, Any] = {"trained_on": arms.size(arm)}
    if arm in given:
        rows = given[arm].rows
        about |= {**given[arm].about, "given": len(rows), "given_rows_sha256": rows_sha256(rows)}
    return about


@contextlib.contextmanager
def _hold_folder(folder: Path) -> Iterator[Path]:
    """Create the folder of trainings if it is missing, and lock it for a block."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} for trainings cannot be created: {error.strerror}",
            expected="a folder, or a new name in a folder that can be written",
        ) from error
    with only_writer(folder / "members.lock", f"the trainings in {folder}"):
        yield folder
