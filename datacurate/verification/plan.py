"""The plan of a verification: everything that is decided before it runs.

A command makes one plan. The same object is printed, estimated and run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datacurate.attacks.plan import plan as plan_suite
from datacurate.data import DataSet
from datacurate.errors import UsageError
from datacurate.evaluation import choose_examples
from datacurate.fingerprints import configuration_hash
from datacurate.nets import check_name
from datacurate.notices import Notify
from datacurate.outputs import refuse_existing
from datacurate.ranks.statistics import (
    assumed_difference_sd,
    minimum_detectable_effect,
    simultaneous_level,
)
from datacurate.recipes import VerifyRecipe
from datacurate.training.devices import oversubscription
from datacurate.training.loop import pace
from datacurate.training.methods import check_method
from datacurate.training.planning import (
    ExecutionPlan,
    decide_augmentation,
    plan_execution,
    training_data,
)
from datacurate.verification.arms import Arms, GivenRows, arms_of, content_of, pairs
from datacurate.verification.surrogate import Surrogate, surrogate_for
from datacurate.verification.trainings import Trainings, Unit, rows_sha256
from datacurate.workers.local import limit_concurrency
from datacurate.workers.workspace import kernel_trials, resolved_recipe


@dataclass(frozen=True)
class VerificationPlan:
    """What a verification will do.

    Attributes
    ----------
    requested : VerifyRecipe
        As the user asked for it.
    recipe : VerifyRecipe
        With every field decided that the request leaves to the machine or the data.
    data : DataSet
    given : mapping of str to GivenRows
        The rows of the arm ``"kept"`` and of the user's own arms.
    arms : Arms
        What each arm is trained on.
    out : Path
        The record.
    execution : ExecutionPlan
    resumes : bool
        Whether it continues unfinished work.
    force : bool
        Whether it replaces what is at `out` and forgets unfinished work.
    trainings : Path or None
        A folder in which trainings and attacks are kept.
    surrogate : Surrogate or None
    """

    requested: VerifyRecipe
    recipe: VerifyRecipe
    data: DataSet
    given: Mapping[str, GivenRows]
    arms: Arms
    out: Path
    execution: ExecutionPlan
    resumes: bool
    force: bool
    trainings: Path | None
    surrogate: Surrogate | None

    @property
    def workspace(self) -> Path:
        """Folder of the unfinished work."""
        return workspace_of(self.out)

    @property
    def concurrency(self) -> int:
        """How many trainings run at a time."""
        return self.execution.concurrency

    @property
    def examples(self) -> int:
        """How many test examples are attacked."""
        return min(self.recipe.examples or len(self.data.test), len(self.data.test))

    @property
    def epochs(self) -> int:
        """Epochs of all trainings together."""
        recipe = self.recipe
        return _count_trainings(recipe) * recipe.training.epochs

    @property
    def work(self) -> dict[str, Any]:
        """What the record depends on beside the recipe, as JSON values."""
        identity = self.data.train.identity
        return {
            "labels": identity.label_fingerprint,
            "pixels": identity.pixel_fingerprint,
            "arms": {name: rows_sha256(arm.rows) for name, arm in self.given.items()},
            **({} if self.surrogate is None else {"surrogate": self.surrogate.sha256}),
        }

    def detectable_effect(self) -> float | None:
        """Return the smallest difference that the recipe is expected to find, before it runs.

        In percentage points, found in 80 % of repetitions; None for a single seed. It assumes the
        spread over seeds of Dong et al. 2021, Table 1.
        """
        level = simultaneous_level(len(pairs(self.recipe)))
        spread = assumed_difference_sd(self.examples)
        return minimum_detectable_effect(self.recipe.seeds, spread, level=level)

    def all_trainings(self, folder: Path, recipe: VerifyRecipe | None = None) -> Trainings:
        """Return the trainings of the plan, with their state in a folder."""
        recipe = recipe or self.recipe
        train, test = self.data.train.identity, self.data.test.identity
        fingerprints = [[i.label_fingerprint, i.pixel_fingerprint] for i in (train, test)]
        return Trainings(
            recipe=recipe,
            arms=self.arms,
            images=self.data.train.images,
            test_images=self.data.test.images,
            test_labels=self.data.test.labels,
            attacked_rows=choose_examples(content_of(self.data.test), recipe.examples),
            data_hash=configuration_hash(fingerprints),
            workspace=folder,
            surrogate=self.surrogate,
        )

    def estimated_seconds(self) -> float:
        """Return the time that the trainings take on this machine, measured on a few real steps.

        Finished trainings in the folder of kept trainings take none. Trainings that run at a time
        are assumed not to slow each other down where the machine has enough cores or GPUs.
        """
        trainings = self.all_trainings(self.trainings or Path())
        arms, recipe = self.arms, self.recipe
        largest = max(recipe.arms, key=arms.size)
        speed = self.concurrency / oversubscription(recipe.execution, self.concurrency)
        seconds = 0.0
        units = {trainings.key(unit): unit for unit in trainings.units()}
        for standard in (False, True):
            epochs = sum(
                (recipe.training.epochs - trainings.saved_epochs(key))
                * arms.size(unit.arm)
                / arms.size(largest)
                for key, unit in units.items()
                if unit.standard == standard
            )
            if epochs:
                unit = Unit(largest, recipe.seed, standard)
                data = trainings.training_data(largest, recipe.seed)
                timing = pace(trainings.training(unit), recipe.execution, data)
                seconds += timing.setup_seconds + timing.epoch_seconds * epochs / speed
        return seconds


def plan(
    recipe: VerifyRecipe,
    data: DataSet,
    given: Mapping[str, GivenRows],
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    trainings: Path | None = None,
    surrogate: Path | None = None,
    execution: ExecutionPlan | None = None,
    tell: Notify | None = None,
) -> VerificationPlan:
    """Decide everything that a verification leaves open.

    Unfinished work at `out` has decided before; its decisions are read back. The parameters are
    those of one command, so there are more than eight.

    Parameters
    ----------
    recipe : VerifyRecipe
    data : DataSet
    given : mapping of str to GivenRows
        The rows of the arm ``"kept"`` and of the user's own arms. The caller has checked that they
        belong to this data; see `datacurate.formats.indexfile`.
    out : Path
        The record, JSON.
    force : bool
        Replace what is at `out`, and forget unfinished work there.
    parallel : int
        How many trainings may run at a time.
    trainings : Path, optional
        A folder in which trainings and attacks are kept and found.
    surrogate : Path, optional
        Checkpoint for which the suite ``"transfer"`` crafts its examples.
    execution : ExecutionPlan, optional
        Where the trainings run, if another verification of the same command has decided it.
    tell : callable, optional
        Told before a step that takes long.

    Raises
    ------
    OutputExistsError
        If something is at `out` already.
    UnknownNameError
        For a network, a method, an arm or an attack suite that does not exist.
    UsageError
        If the arms do not fit together, see `datacurate.verification.arms.arms_of`; if standard
        trainings are asked for beside standard trainings; for a suite without the surrogate that it
        needs; if `parallel` is below one.
    CheckpointError
        If the surrogate is not a checkpoint for this data.
    """
    refuse_existing_record(out, force)
    arms = arms_of(recipe, data, given)
    checkpoint = surrogate_for(recipe, data, surrogate)
    if trainings is not None and trainings.resolve() == workspace_of(out).resolve():
        raise UsageError(
            f"{trainings} is removed when {out} is finished, so trainings cannot be kept there",
            hint="choose another --trainings",
        )
    training = decide_augmentation(recipe.training, data)
    unfinished = None if force else resolved_recipe(workspace_of(out), VerifyRecipe)
    if unfinished is not None:
        workspace = workspace_of(out)
        execution = ExecutionPlan(unfinished.execution, parallel, kernel_trials(workspace))
    else:
        _check_names(recipe, data)
    if execution is not None:
        concurrency = limit_concurrency(parallel, _count_trainings(recipe))
        execution = replace(execution, concurrency=concurrency)
    else:
        execution = plan_execution(
            recipe.execution,
            training,
            training_data(data),
            units=_count_trainings(recipe),
            parallel=parallel,
            timed_units=recipe.seeds * len(recipe.arms),
            tell=tell,
        )
    return VerificationPlan(
        requested=recipe,
        recipe=replace(recipe, training=training, execution=execution.execution),
        data=data,
        given=given,
        arms=arms,
        out=out,
        execution=execution,
        resumes=unfinished is not None,
        force=force,
        trainings=trainings,
        surrogate=checkpoint,
    )


def refuse_existing_record(out: Path, force: bool) -> None:
    """Raise unless a record and its table may be written.

    Raises
    ------
    OutputError
        As `datacurate.outputs.refuse_existing` does, for either file.
    UsageError
        If both would be one file.
    """
    if out == table_path(out):
        raise UsageError(f"the record cannot be {out}", expected="a file that ends in .json")
    refuse_existing(out, force)
    refuse_existing(table_path(out), force)


def table_path(out: Path) -> Path:
    """Return the path of a record's table: ``verify.json`` → ``verify.md``."""
    return out.with_suffix(".md")


def workspace_of(out: Path) -> Path:
    """Return the folder of the unfinished verification of `out`: ``verify.state``."""
    return out.with_suffix(".state")


def _count_trainings(recipe: VerifyRecipe) -> int:
    return recipe.seeds * len(recipe.arms) * (1 + recipe.standard)


def _check_names(recipe: VerifyRecipe, data: DataSet) -> None:
    check_name(recipe.training.model)
    check_method(recipe.training)
    plan_suite(recipe.suite, data.train.identity.classes)
    if recipe.standard and recipe.training.method == "standard":
        raise UsageError(
            "the trainings are standard ones already", hint="--set standard=false compares them"
        )
