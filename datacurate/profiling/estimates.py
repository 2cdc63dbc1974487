"""How long a profile will take here, from a few real steps that are thrown away."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from datacurate.attacks.frozen import frozen
from datacurate.data.batches import as_pixels
from datacurate.errors import UsageError
from datacurate.profiling.stages import names_at_best
from datacurate.recipes import ProfileRecipe
from datacurate.training.devices import autocast, crowding, deterministic
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import pace
from datacurate.training.measures import BATCH
from datacurate.workers.local import limited

MOST_RUNS = 10
"""As many as the paper's (S0, A.2); more time than they take is left unused."""

FEWEST_EPOCHS = 2
"""With fewer, every example is right or wrong once."""

_RESERVED = 0.9


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


@dataclass(frozen=True)
class Cost:
    """What a profile's runs take here, each alone.

    Attributes
    ----------
    setup_seconds : float
        Paid once.
    epoch_seconds : float
    measuring_seconds : float
        A run's measures, at most.
    """

    setup_seconds: float
    epoch_seconds: float
    measuring_seconds: float

    def of(self, recipe: ProfileRecipe, at_once: int) -> Estimate:
        """Return an estimate for a recipe like the one whose cost this is.

        The steps were timed with one training going on. Several share the cores or the GPUs: where
        there are fewer of these than they ask for, the time is that of waiting for them too.

        Parameters
        ----------
        recipe : ProfileRecipe
            With nothing left to the machine or the data; its runs and epochs may be others.
        at_once : int
            How many runs go on at a time.
        """
        rounds = math.ceil(recipe.runs / at_once) * crowding(recipe.execution, at_once)
        trainings = self.setup_seconds + rounds * self.epoch_seconds * recipe.training.epochs
        return Estimate(trainings, rounds * self.measuring_seconds, at_once)


def cost(recipe: ProfileRecipe, data: TrainingData) -> Cost:
    """Return what the runs of a recipe take, from a few real steps.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    data : TrainingData
    """
    found = pace(recipe.training, recipe.execution, data)
    passes = passes_of_measures(recipe)
    measuring = passes * _seconds_per_pass(recipe, data) if passes else 0.0
    return Cost(found.setup_seconds, found.epoch_seconds, measuring)


def within(recipe: ProfileRecipe, seconds: float, known: Cost, parallel: int) -> ProfileRecipe:
    """Return a recipe with the runs and epochs that fit into a time.

    Another epoch tells more than another run of the same kind, so there are no more runs than go
    on at a time before the recipe's epochs fit; after that, as many as fit.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine or the data.
    seconds : float
        Of which a tenth is kept in reserve.
    known : Cost
        Of this recipe.
    parallel : int
        How many runs may go on at a time.

    Raises
    ------
    UsageError
        If not even `FEWEST_EPOCHS` fit.
    """
    most = _RESERVED * seconds

    def fits(runs: int, epochs: int) -> bool:
        tried = replace(recipe, runs=runs, training=replace(recipe.training, epochs=epochs))
        return known.of(tried, limited(parallel, runs)).total <= most

    runs, whole = limited(parallel, recipe.runs), recipe.training.epochs
    fewest = min(FEWEST_EPOCHS, whole)
    epochs = max((n for n in range(fewest, whole + 1) if fits(runs, n)), default=0)
    if epochs == 0:
        training = replace(recipe.training, epochs=fewest)
        least = known.of(replace(recipe, runs=runs, training=training), runs).total / _RESERVED
        raise UsageError(
            f"not even {fewest} epochs fit into the time",
            expected=f"--budget of {least / 60:.1f} minutes or more",
            got=f"{seconds / 60:.1f} minutes",
            hint="a smaller net, such as --set model.width=8",
        )
    if epochs == whole:
        runs = max(n for n in range(runs, max(runs, MOST_RUNS) + 1) if fits(n, epochs))
    return replace(recipe, runs=runs, training=replace(recipe.training, epochs=epochs))


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
