"""What the plans of a profile and of a verification share: data, augmentation, execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from datacurate.data import DataSet
from datacurate.notices import Notify
from datacurate.recipes import Augmentation, Execution, Training
from datacurate.training.examples import TrainingData
from datacurate.training.kernels import choose_kernels
from datacurate.workers.local import limit_concurrency


@dataclass(frozen=True)
class ExecutionPlan:
    """Where trainings run, with which kernels, and how many at a time.

    Attributes
    ----------
    execution : Execution
        With every field decided.
    concurrency : int
        How many trainings run at a time.
    trials : mapping or None
        What the kernel trials gave, as JSON values for provenance; None if none were made.
    notes : tuple of str
        For the user: which kernels were refused, and why.
    """

    execution: Execution
    concurrency: int
    trials: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def plan_execution(
    requested: Execution,
    training: Training,
    data: TrainingData,
    *,
    units: int,
    parallel: int,
    timed_units: int | None = None,
    tell: Notify | None = None,
) -> ExecutionPlan:
    """Decide where trainings run, with which kernels, and how many at a time.

    Threads that the recipe leaves open are all cores, shared by the trainings that run at a time.

    Parameters
    ----------
    requested : Execution
    training : Training
        With padding and flip decided.
    data : TrainingData
    units : int
        How many trainings there are.
    parallel : int
        How many may run at a time.
    timed_units : int, optional
        How many trainings count when the work is judged long enough to compile; all by default.
    tell : callable, optional
        Told before a step that takes long.

    Raises
    ------
    UsageError
        If `parallel` is below one, or the requested device does not exist here.
    """
    concurrency = limit_concurrency(parallel, units)
    choice = choose_kernels(
        requested,
        training,
        data,
        units=timed_units or units,
        concurrency=concurrency,
        tell=tell,
    )
    return ExecutionPlan(choice.execution, concurrency, choice.as_dict(), choice.notes)


def decide_augmentation(training: Training, data: DataSet) -> Training:
    """Return a training with crop and flip decided for images of this size and kind."""
    chosen = training.augmentation
    height = data.train.images.shape[1]
    padding = height // 8 if chosen.padding is None else chosen.padding
    flip = data.flippable if chosen.flip is None else chosen.flip
    return replace(training, augmentation=Augmentation(padding, flip))


def training_data(data: DataSet) -> TrainingData:
    """Return all trainable examples, with the test split to choose the best checkpoint."""
    return TrainingData(
        images=data.train.images,
        labels=data.train.labels,
        rows=data.trainable,
        selection_images=data.test.images,
        selection_labels=data.test.labels,
        classes=data.train.identity.classes,
    )
