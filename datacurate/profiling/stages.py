"""When a run takes its measures: early in training, at the best checkpoint, at the last one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from datacurate.errors import RecipeError
from datacurate.recipes import Measure, ProfileRecipe
from datacurate.training.checkpoints import load_tensors, save_tensors
from datacurate.training.devices import deterministic
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import Fit, Probe
from datacurate.training.measures import Scores, measure, probability_under_attack

AT_BEST: tuple[Measure, ...] = ("clean_probability", "minimum_perturbation")
"""Measures that are taken at the best checkpoint."""


def check_measures(recipe: ProfileRecipe) -> ProfileRecipe:
    """Check a recipe's measures, and return it with the EL2N epoch within the training.

    Raises
    ------
    RecipeError
        If it measures EL2N in adversarial training, ranks by a column that it does not measure, or
        pools columns that cannot be pooled.
    """
    _check_ranked_columns(recipe)
    if "el2n" not in recipe.measures:
        return recipe
    method = recipe.training.method
    if method != "standard":
        raise RecipeError(
            "EL2N is defined for standard training",
            expected="training.method = standard",
            got=f"training.method = {method}",
            hint="--set training.method=standard, or leave el2n out of --set measures=...",
        )
    return replace(recipe, el2n_epoch=min(recipe.el2n_epoch, recipe.training.epochs))


def measures_at_best(recipe: ProfileRecipe) -> tuple[Measure, ...]:
    """Return the measures of a recipe that are taken at the best checkpoint."""
    return tuple(name for name in recipe.measures if name in AT_BEST)


def measures_after_training(recipe: ProfileRecipe) -> bool:
    """Return whether a recipe takes measures after training."""
    return bool(measures_at_best(recipe)) or "final_probability" in recipe.measures


def early_probe(recipe: ProfileRecipe, data: TrainingData) -> Probe | None:
    """Return the probe for what a recipe measures early in training, or None.

    ``error_norm`` is ‖softmax − one-hot label‖₂ of each training example, unaugmented, with running
    batch statistics. Its mean over the runs is EL2N (Paul et al., 2021, section 3).
    """
    if "el2n" not in recipe.measures:
        return None

    def error_norm(net: nn.Module) -> dict[str, Tensor]:
        scores = measure(
            net,
            data.images[data.rows],
            data.labels[data.rows],
            ("el2n",),
            cap=recipe.perturbation_cap,
            execution=recipe.execution,
        )
        return {"error_norm": torch.from_numpy(scores["el2n"])}

    return Probe(recipe.el2n_epoch, error_norm)


def measure_at_end(recipe: ProfileRecipe, fitted: Fit, data: TrainingData, state: Path) -> Scores:
    """Measure the training examples with a run's best and last networks.

    Parameters
    ----------
    recipe : ProfileRecipe
        Resolved.
    fitted : Fit
    data : TrainingData
    state : Path
        File of the computed measures: read if it exists, else written.

    Raises
    ------
    CheckpointError
        If that file is damaged.
    """
    if not measures_after_training(recipe):
        return {}
    if not state.exists():
        images, labels = data.images[data.rows], data.labels[data.rows]
        scores: Scores = {}
        with deterministic(recipe.execution) as device:
            net = initial_network(recipe.training, data, recipe.seed).to(device)
            if names := measures_at_best(recipe):
                net.load_state_dict(fitted.best)
                scores = measure(
                    net,
                    images,
                    labels,
                    names,
                    cap=recipe.perturbation_cap,
                    execution=recipe.execution,
                )
            if "final_probability" in recipe.measures:
                net.load_state_dict(fitted.last)
                scores["final_probability"] = probability_under_attack(
                    net, images, labels, recipe.final_attack, recipe.execution
                )
        save_tensors(state, {name: torch.from_numpy(values) for name, values in scores.items()})
    return {name: values.numpy() for name, values in load_tensors(state).items()}


def _check_ranked_columns(recipe: ProfileRecipe) -> None:
    unmeasured = (set(recipe.rank_by) & set(get_args(Measure))) - set(recipe.measures)
    if unmeasured or not recipe.rank_by:
        raise RecipeError(
            "the recipe ranks by a column that it does not measure",
            expected="rank_by names columns that every run has, or that are in measures",
            got=f"rank_by = {', '.join(recipe.rank_by) or 'nothing'}; "
            f"measures = {', '.join(recipe.measures) or 'nothing'}",
            hint=f"--set measures={','.join((*recipe.measures, *sorted(unmeasured)))}"
            if unmeasured
            else "--set rank_by=instability",
        )
    if recipe.aggregate == "pooled" and recipe.rank_by != ("instability",):
        raise RecipeError(
            "only counts of epochs can be pooled",
            expected="rank_by = instability, or aggregate = mean-rank",
            got=f"rank_by = {', '.join(recipe.rank_by)}",
        )
