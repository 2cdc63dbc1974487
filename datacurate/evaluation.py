"""A suite of attacks on one model: clean, PGD-10 and robust accuracy of the same examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.batch_size import BATCH
from datacurate.attacks.correctness import AttackProgress, correct_under_pgd
from datacurate.attacks.frozen import device_of
from datacurate.attacks.outcome import AttackOutcome, AttackState
from datacurate.attacks.precision import full_float32
from datacurate.attacks.searches import Implementation
from datacurate.attacks.suites import WITHOUT_GRADIENTS, is_upper_bound
from datacurate.data.batches import as_pixels
from datacurate.fingerprints import U64, content_hashes, mix64, seed64
from datacurate.ranks.statistics import Accuracy, mcnemar
from datacurate.recipes import Attack, Execution
from datacurate.recipes.fields import DType
from datacurate.training import devices

_CHANCE = 0.01  # McNemar's p below which a weaker attack has found more than a stronger one


@dataclass(frozen=True)
class Evaluation:
    """What a model withstands.

    Attributes
    ----------
    pgd10 : ndarray of bool, shape (N,)
        Whether each example is right under PGD-10 from a zero start with steps of 2/255.
    outcome : AttackOutcome
        Of the suite, example by example; clean correctness is part of it.
    device : str
        Where it was computed, such as ``"cpu"``.
    torch : str
        Version.
    """

    pgd10: npt.NDArray[np.bool_]
    outcome: AttackOutcome
    device: str
    torch: str

    def __len__(self) -> int:
        return len(self.pgd10)

    @property
    def clean(self) -> Accuracy:
        """Accuracy on the unperturbed examples."""
        return _accuracy(self.outcome.clean_correct)

    @property
    def pgd(self) -> Accuracy:
        """Robust accuracy under PGD-10."""
        return _accuracy(self.pgd10)

    @property
    def robust(self) -> Accuracy:
        """Robust accuracy under the suite; of ``"fast"`` an upper bound."""
        return _accuracy(self.outcome.robust)

    @property
    def upper_bound(self) -> bool:
        """Whether the suite is none of AutoAttack's, so that AutoAttack may find less."""
        return is_upper_bound(self.outcome.suite)

    @property
    def overestimation_gap(self) -> float:
        """PGD-10 accuracy less the suite's, in points."""
        return self.pgd.percent - self.robust.percent

    @property
    def warnings(self) -> tuple[str, ...]:
        """Signs that the robust accuracy may be too high.

        Beside those of the suite: one without the model's gradients that leaves less than PGD-10,
        which of a model whose gradients mean something it does not
        (https://arxiv.org/abs/1902.06705, section 5.3).
        """
        suite = self.outcome.suite
        if suite not in WITHOUT_GRADIENTS:
            return self.outcome.warnings
        pair = mcnemar(self.pgd10, self.outcome.robust)
        if pair.gained <= pair.lost or pair.p > _CHANCE:
            return self.outcome.warnings
        return (
            *self.outcome.warnings,
            f"{suite}, which asks the model for no gradients, left {self.robust.percent:.2f}%, "
            f"PGD-10 {self.pgd.percent:.2f}%: the model may mask its gradients, and what attacks "
            "with gradients leave may be too high",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the accuracies and all they depend on, for JSON; without the examples."""
        outcome = self.outcome
        return {
            "n": len(self),
            "radius_255": outcome.radius * 255,
            "clean": self.clean.as_dict(),
            "pgd10": self.pgd.as_dict(),
            "robust": self.robust.as_dict(),
            "upper_bound": self.upper_bound,
            **({} if self.upper_bound else {"autoattack": self.robust.as_dict()}),
            "overestimation_gap": self.overestimation_gap,
            "suite": outcome.suite,
            "label": outcome.label,
            "attacks": [
                {
                    "name": name,
                    "correct_after": left,
                    "seconds": seconds,
                    "spent_on_survivors": spent,
                }
                for name, left, seconds, spent in zip(
                    outcome.attacks,
                    outcome.left,
                    outcome.seconds,
                    outcome.spent_on_survivors(),
                    strict=True,
                )
            ],
            "unconfirmed": outcome.unconfirmed,
            "warnings": list(self.warnings),
            "seed": outcome.seed,
            "implementation": outcome.implementation,
            "device": self.device,
            "torch": self.torch,
        }


def choose_examples(content_hash: U64, count: int) -> npt.NDArray[np.int64]:
    """Return which examples are evaluated: the same images whatever their order in the data.

    Parameters
    ----------
    content_hash : ndarray of uint64, shape (N,)
        Of each example; see `datacurate.fingerprints.content_hashes`.
    count : int
        How many; 0, or more than there are, means all.

    Returns
    -------
    ndarray of int64
        Rows, ascending: those whose mixed hash is smallest. Of equal images the first come first.
    """
    if count == 0 or count >= len(content_hash):
        return np.arange(len(content_hash))
    lot = mix64(seed64("evaluation"), content_hash)
    return np.sort(np.argsort(lot, kind="stable")[:count])


def evaluate(
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    radius_255: float = 8.0,
    suite: str = "standard",
    seed: int = 0,
    batch_size: int | None = None,
    state: AttackState | None = None,
    save: Callable[[AttackState], None] | None = None,
    progress: AttackProgress | None = None,
    implementation: Implementation = "own",
    dtype: DType = "auto",
    surrogate: nn.Module | None = None,
) -> Evaluation:
    """Attack one model and return what it withstands.

    Whether an example is broken is decided in float32, whatever the attacks look for directions in.
    The model comes back as it was.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    radius_255 : float
        Of the ℓ∞ ball, in 1/255: 8 whatever the model was trained with.
    suite : str
        Such as ``"standard"``; see `datacurate.attacks.suites.plan`.
    seed : int
        Each example's noise follows from it and the example's pixels.
    batch_size : int, optional
    state, save
        To resume; see `datacurate.attacks.autoattack.autoattack`. PGD-10 comes after the suite.
    progress : callable, optional
        ``progress(attack, examples_done, examples)`` after each batch.
    implementation : str
        ``"own"``, or ``"package"`` for the attacks of `pyautoattack`.
    dtype : str
        In which the attacks look for directions: by default bfloat16 where the model's device is
        faster in it, else float32.
    surrogate : Module, optional
        On the same device; what the suite ``"transfer"`` makes its examples for.

    Raises
    ------
    DatacurateError
        As `datacurate.attacks.autoattack.autoattack` does.
    """
    x = as_pixels(torch.from_numpy(images))
    y = torch.from_numpy(labels)
    device = device_of(model, x)
    execution = Execution(device=str(device), dtype=dtype, kernels="eager")
    reached = state

    def keep(found: AttackState) -> None:
        nonlocal reached
        reached = found
        if save is not None:
            save(found)

    outcome = autoattack(
        model,
        x,
        y,
        radius=radius_255 / 255,
        suite=suite,
        seed=seed,
        batch_size=batch_size,
        keys=content_hashes(images),
        state=state,
        save=keep,
        progress=progress,
        implementation=implementation,
        dtype=getattr(torch, devices.resolve(execution).dtype),
        surrogate=surrogate,
    )
    assert reached is not None  # a suite has at least one attack
    if "pgd10" not in reached:
        attack = Attack(radius=radius_255, step=2, steps=10, start="zero")
        with full_float32(device):
            right = correct_under_pgd(
                model, x, y, attack, batch_size=batch_size or BATCH, progress=progress
            )
        keep({**reached, "pgd10": right.tolist()})
    pgd10 = np.array(reached["pgd10"], dtype=np.bool_)
    return Evaluation(pgd10=pgd10, outcome=outcome, device=str(device), torch=torch.__version__)


def _accuracy(correct: npt.NDArray[np.bool_]) -> Accuracy:
    return Accuracy(int(np.count_nonzero(correct)), len(correct))
