"""How long a profile will take here, from a few real steps that are thrown away."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from datacurate.attacks.frozen import frozen
from datacurate.data.batches import as_pixels
from datacurate.files.provenance import cores
from datacurate.recipes import Execution, ProfileRecipe
from datacurate.training.devices import autocast, deterministic
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import pace
from datacurate.training.measures import BATCH
from datacurate.training.stages import names_at_best


@dataclass(frozen=True)
class Estimate:
    """Seconds that a profile's parts take.

    Attributes
    ----------
    trainings : float
    measures : float
        At most: minimum perturbations that are found early cost less.
    at_once : int
        How many runs go on at a time.
    """

    trainings: float
    measures: float
    at_once: int

    @property
    def total(self) -> float:
        """All of it, at most."""
        return self.trainings + self.measures


def estimate(recipe: ProfileRecipe, data: TrainingData, at_once: int) -> Estimate:
    """Return an estimate for a profile that begins now.

    The steps are timed with one training going on. Several share the cores or the GPUs: where
    there are fewer of these than they ask for, the time is that of waiting for them too.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    data : TrainingData
    at_once : int
        How many runs go on at a time.
    """
    found = pace(recipe.training, recipe.execution, data)
    passes = passes_of_measures(recipe)
    measuring = passes * _seconds_per_pass(recipe, data) if passes else 0.0
    rounds = math.ceil(recipe.runs / at_once) * _crowding(recipe.execution, at_once)
    trainings = found.setup_seconds + rounds * found.epoch_seconds * recipe.training.epochs
    return Estimate(trainings, rounds * measuring, at_once)


def passes_of_measures(recipe: ProfileRecipe) -> int:
    """Return how many forward or backward passes over the data a run's measures take, at most.

    A forward pass serves everything that is read from clean logits; the minimum perturbation takes
    a forward and a backward pass for each 1/255 up to its cap.
    """
    passes = ("el2n" in recipe.measures) + bool(names_at_best(recipe))
    if "final_probability" in recipe.measures:
        passes += 2 * recipe.final_attack.steps + 1
    if "minimum_perturbation" in recipe.measures:
        passes += 2 * recipe.perturbation_cap
    return passes


def _seconds_per_pass(recipe: ProfileRecipe, data: TrainingData) -> float:
    with deterministic(recipe.execution) as device:
        net = initial_network(recipe.training, data, recipe.seed).to(device)
        x = as_pixels(torch.from_numpy(data.images[data.rows[:BATCH]]).to(device))
        with autocast(recipe.execution), frozen(net), torch.no_grad():
            net(x).sum().item()  # the first pass pays for set-up
            started = time.perf_counter()
            net(x).sum().item()
        return (time.perf_counter() - started) / len(x) * len(data.rows)


def _crowding(execution: Execution, at_once: int) -> float:
    """Return how many times more is asked for than there is; 1 where there is enough."""
    if execution.device.startswith("cuda"):
        devices = torch.cuda.device_count() if execution.device == "cuda" else 1
        return max(1.0, at_once / devices)
    return max(1.0, at_once * execution.threads / cores())
