"""Measures of examples that need only a trained network (S1, appendix B).

They are computed on the unperturbed, unaugmented images with running batch statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from datacurate.attacks.frozen import device_of, frozen
from datacurate.attacks.minimum_perturbation import minimum_perturbation
from datacurate.data.batches import as_pixels
from datacurate.errors import CheckpointError, RecipeError, UnknownNameError
from datacurate.recipes import Execution, Measure, ProfileRecipe
from datacurate.training.checkpoints import load_tensors, save_tensors
from datacurate.training.devices import autocast, deterministic
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.loop import Fit, Probe

Scores = dict[str, npt.NDArray[np.float32]]

MEASURES = (*get_args(Measure), "margin")
"""What `measure` knows; recipes of profiles take all but the margin."""

BATCH = 500
"""How many examples are measured at a time."""


def check_names(names: Sequence[str]) -> None:
    """Raise `UnknownNameError` unless there are measures of these names."""
    for name in names:
        if name not in MEASURES:
            raise UnknownNameError("measure", name, MEASURES)


def measure(
    net: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    *,
    cap: int,
    execution: Execution,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Return measures of examples under one network.

    ``clean_probability``
        True-class probability, in [0, 1] (S1, B.1).
    ``minimum_perturbation``
        Smallest ℓ∞ radius, in whole 1/255, at which I-FGSM with steps of 1/255 changes the
        prediction; an upper bound (S1, B.2). `cap` + 1 stands for more than `cap`, so that means
        over runs stay finite.
    ``margin``
        True-class logit less the largest other one.
    ``el2n``
        ‖softmax − one-hot label‖₂, in [0, √2]. It is EL2N (Paul et al., 2021,
        https://arxiv.org/abs/2107.07075, section 3) where the network is one from early in
        standard training; the paper takes the mean over several of them.

    Parameters
    ----------
    net : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    names : sequence of str
    cap : int
        Largest perturbation tried, in 1/255.
    execution : Execution
        Decided for this machine.
    progress : callable, optional
        ``progress(examples_done, examples)`` after each batch.

    Returns
    -------
    dict of str to ndarray of float32, shape (N,)

    Raises
    ------
    UnknownNameError
        For a measure that does not exist.
    CheckpointError
        If the network has fewer classes than the labels need, or gives values that are not finite.
    """
    check_names(names)
    found = {name: np.empty(len(labels), dtype=np.float32) for name in names}
    device = device_of(net, torch.empty(0))
    for start in range(0, len(labels), BATCH):
        rows = slice(start, start + BATCH)
        x = as_pixels(torch.from_numpy(images[rows]).to(device))
        y = torch.from_numpy(labels[rows]).to(device)
        with autocast(execution):
            with frozen(net), torch.no_grad():
                logits = net(x).float()
            _check_logits(logits, y)
            for name in names:
                values = (
                    _perturbation(net, x, cap)
                    if name == "minimum_perturbation"
                    else _OF_LOGITS[name](logits, y)
                )
                found[name][rows] = values.cpu().numpy()
        if progress is not None:
            progress(min(start + BATCH, len(labels)), len(labels))
    return found


def settled(recipe: ProfileRecipe) -> ProfileRecipe:
    """Return a recipe whose EL2N, if it measures it, falls within the training.

    Raises
    ------
    RecipeError
        If it measures EL2N of adversarial training.
    """
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


def names_at_best(recipe: ProfileRecipe) -> tuple[Measure, ...]:
    """Return those of a recipe's measures that are taken at the best checkpoint."""
    return tuple(name for name in recipe.measures if name != "el2n")


def early(recipe: ProfileRecipe, data: TrainingData) -> Probe | None:
    """Return what a recipe measures early in its trainings, or None.

    ``error_norm`` is ‖softmax − one-hot label‖₂ of each training example, unaugmented, with running
    batch statistics. Its mean over the runs is EL2N (Paul et al., 2021, section 3).
    """
    if "el2n" not in recipe.measures:
        return None

    def error_norm(net: nn.Module) -> dict[str, Tensor]:
        found = measure(
            net,
            data.images[data.rows],
            data.labels[data.rows],
            ("el2n",),
            cap=recipe.perturbation_cap,
            execution=recipe.execution,
        )
        return {"error_norm": torch.from_numpy(found["el2n"])}

    return Probe(recipe.el2n_epoch, error_norm)


def at_best(recipe: ProfileRecipe, finished: Fit, data: TrainingData, state: Path) -> Scores:
    """Return a recipe's measures of the training examples at a run's best checkpoint.

    Parameters
    ----------
    recipe : ProfileRecipe
        With nothing left to the machine.
    finished : Fit
    data : TrainingData
    state : Path
        Where they are kept once they are computed, and read from if they are there.

    Raises
    ------
    CheckpointError
        If what is kept is damaged.
    """
    names = names_at_best(recipe)
    if not names:
        return {}
    if not state.exists():
        with deterministic(recipe.execution) as device:
            net = initial_network(recipe.training, data, recipe.seed)
            net.load_state_dict(finished.best)
            found = measure(
                net.to(device),
                data.images[data.rows],
                data.labels[data.rows],
                names,
                cap=recipe.perturbation_cap,
                execution=recipe.execution,
            )
        save_tensors(state, {name: torch.from_numpy(values) for name, values in found.items()})
    return {name: values.numpy() for name, values in load_tensors(state).items()}


def _perturbation(net: nn.Module, x: Tensor, cap: int) -> Tensor:
    distance = minimum_perturbation(net, x, cap=cap / 255) * 255
    # Pixels and steps are whole 1/255, so distances are: what lies between is rounding.
    return torch.where(distance.isinf(), float(cap + 1), distance.round())


def _clean_probability(logits: Tensor, y: Tensor) -> Tensor:
    return logits.softmax(dim=1).gather(1, y[:, None])[:, 0].clamp(0, 1)


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    others = logits.scatter(1, y[:, None], float("-inf")).amax(dim=1)
    return logits.gather(1, y[:, None])[:, 0] - others


def _el2n(logits: Tensor, y: Tensor) -> Tensor:
    error = logits.softmax(dim=1) - functional.one_hot(y, logits.shape[1])
    return error.square().sum(dim=1).sqrt()


_OF_LOGITS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clean_probability": _clean_probability,
    "margin": _margin,
    "el2n": _el2n,
}


def _check_logits(logits: Tensor, y: Tensor) -> None:
    if logits.ndim != 2 or len(logits) != len(y) or int(y.max()) >= logits.shape[1]:
        raise CheckpointError(
            "the network does not fit the data",
            expected=f"logits of shape ({len(y)}, {int(y.max()) + 1} or more)",
            got=str(tuple(logits.shape)),
        )
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            "the network gives logits that are not finite", hint="its training may have diverged"
        )
