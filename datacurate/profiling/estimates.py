"""How long a profile takes on this machine, measured on a few real steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from datacurate.attacks.frozen import frozen
from datacurate.data.batches import as_pixels
from datacurate.errors import UsageError
from datacurate.profiling.stages import measures_at_best
from datacurate.recipes import ProfileRecipe
from datacurate.training.devices import autocast, deterministic, oversubscription
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import pace
from datacurate.training.measures import BATCH
from datacurate.workers.local import limit_concurrency

MOST_RUNS = 10
"""Runs of the paper (Dong et al. 2021, appendix A.2). A longer budget is left unused."""

FEWEST_EPOCHS = 2
"""With one epoch, an example is only correct or incorrect once."""

_USABLE = 0.9  # share of a budget that is planned; the rest is reserve


@dataclass(frozen=True)
class Estimate:
    """Seconds that the parts of a profile take.

    Attributes
    ----------
    trainings : float
    measures : float
        At most: a small minimum perturbation is found early and costs less.
    concurrency : int
        How many runs are trained at a time.
    """

    trainings: float
    measures: float
    concurrency: int

    @property
    def total(self) -> float:
        """Seconds in total, at most."""
        return self.trainings + self.measures


@dataclass(frozen=True)
class Cost:
    """Seconds that one run of a profile takes here when it runs alone.

    Attributes
    ----------
    setup_seconds : float
        Once, not for every run.
    epoch_seconds : float
    measuring_seconds : float
        Measures of a run, at most.
    """

    setup_seconds: float
    epoch_seconds: float
    measuring_seconds: float

    def estimate(self, recipe: ProfileRecipe, concurrency: int) -> Estimate:
        """Return the estimate for a recipe with this cost; its runs and epochs may differ.

        The steps were timed with one training at a time. Where several trainings ask for more
        cores or GPUs than there are, the estimate grows by that factor.

        Parameters
        ----------
        recipe : ProfileRecipe
            Resolved.
        concurrency : int
            How many runs are trained at a time.
        """
        rounds = math.ceil(recipe.runs / concurrency) * oversubscription(
            recipe.execution, concurrency
        )
        trainings = self.setup_seconds + rounds * self.epoch_seconds * recipe.training.epochs
        return Estimate(trainings, rounds * self.measuring_seconds, concurrency)


def measure_cost(recipe: ProfileRecipe, data: TrainingData) -> Cost:
    """Return the time that a run of a recipe takes, measured on a few real steps.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    data : TrainingData
    """
    timing = pace(recipe.training, recipe.execution, data)
    passes = passes_of_measures(recipe)
    measuring = passes * _seconds_per_pass(recipe, data) if passes else 0.0
    return Cost(timing.setup_seconds, timing.epoch_seconds, measuring)


def fit_into_time(
    recipe: ProfileRecipe, seconds: float, cost: Cost, parallel: int
) -> ProfileRecipe:
    """Return a recipe with the number of runs and epochs that fit into a time.

    An additional epoch tells more than an additional run. So runs beyond `parallel` are only added
    once all epochs of the recipe fit.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    seconds : float
        The whole time; a tenth of it is reserve.
    cost : Cost
        Of this recipe.
    parallel : int
        How many runs may be trained at a time.

    Raises
    ------
    UsageError
        If not even `FEWEST_EPOCHS` fit.
    """
    usable = _USABLE * seconds

    def fits(runs: int, epochs: int) -> bool:
        tried = replace(recipe, runs=runs, training=replace(recipe.training, epochs=epochs))
        return cost.estimate(tried, limit_concurrency(parallel, runs)).total <= usable

    runs, whole = limit_concurrency(parallel, recipe.runs), recipe.training.epochs
    fewest = min(FEWEST_EPOCHS, whole)
    epochs = max((n for n in range(fewest, whole + 1) if fits(runs, n)), default=0)
    if epochs == 0:
        training = replace(recipe.training, epochs=fewest)
        least = cost.estimate(replace(recipe, runs=runs, training=training), runs).total / _USABLE
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
    """Return how many forward or backward passes over the data the measures of a run take, at most.

    One forward pass serves all measures of clean logits. The minimum perturbation takes a forward
    and a backward pass for each 1/255 up to its cap.
    """
    passes = ("el2n" in recipe.measures) + bool(measures_at_best(recipe))
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
