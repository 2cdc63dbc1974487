"""Small trainings on real digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from datacurate.data import load
from datacurate.recipes import Augmentation, CheckpointSelection, Execution, Model, Training
from datacurate.recipes.named import PROFILE_RECIPES
from datacurate.training.examples import TrainingData

EXECUTION = Execution(device="cpu", dtype="float32", threads=1)


@pytest.fixture(scope="session")
def digits() -> TrainingData:
    """A few hundred digits; the rows trained on are not the first ones."""
    data = load("digits")
    return TrainingData(
        images=data.train.images,
        labels=data.train.labels,
        rows=np.arange(100, 330),
        selection_images=data.test.images[:60],
        selection_labels=data.test.labels[:60],
        classes=10,
    )


@pytest.fixture(scope="session")
def training() -> Training:
    """Four epochs of a tiny net with momentum, augmentation and noise."""
    return replace(
        PROFILE_RECIPES["smoke"].training,
        epochs=4,
        model=Model("preact-small", width=4),
        augmentation=Augmentation(1, True),
        selection=CheckpointSelection(examples=40, every=2),
    )
