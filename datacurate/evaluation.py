"""Evaluate one model with a suite of attacks: clean, PGD-10 and robust accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.suites import is_upper_bound
from datacurate.attacks.table import needs_gradients
from datacurate.data.batches import as_pixels
from datacurate.fingerprints import U64, content_hashes, mix64, seed64
from datacurate.ranks.statistics import Accuracy, mcnemar
from datacurate.recipes import Attack, Execution
from datacurate.training import devices

_SIGNIFICANT = 0.01  # McNemar's p below which two attacks differ


@dataclass(frozen=True)
class Evaluation:
    """The result of an attack suite and of PGD-10 on the same examples.

    Attributes
    ----------
    pgd10 : ndarray of bool, shape (N,)
        Whether each example is classified correctly under PGD-10, which starts from the example
        itself and takes steps of 2/255.
    outcome : AttackOutcome
        Of the suite, example by example; it contains the clean correctness.
    device : str
        Where it was computed, such as ``"cpu"``.
    torch : str
        Version of torch.
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
        """Robust accuracy under the suite."""
        return _accuracy(self.outcome.robust)

    @property
    def upper_bound(self) -> bool:
        """Whether the suite is not AutoAttack, which may leave fewer examples."""
        return is_upper_bound(self.outcome.suite)

    @property
    def overestimation_gap(self) -> float:
        """PGD-10 accuracy minus the suite's robust accuracy, in percentage points."""
        return self.pgd.percent - self.robust.percent

    @property
    def warnings(self) -> tuple[str, ...]:
        """Signs that the robust accuracy may be too high.

        To those of the suite this adds one: a suite without the model's gradients breaks more
        examples than PGD-10. If the gradients are meaningful, it breaks fewer (Carlini et al. 2019,
        https://arxiv.org/abs/1902.06705, section 5.3).
        """
        suite = self.outcome.suite
        if needs_gradients(suite):
            return self.outcome.warnings
        pair = mcnemar(self.pgd10, self.outcome.robust)
        if pair.gained <= pair.lost or pair.p > _SIGNIFICANT:
            return self.outcome.warnings
        return (
            *self.outcome.warnings,
            f"{suite}, which asks the model for no gradients, left {self.robust.percent:.2f}%, "
            f"PGD-10 {self.pgd.percent:.2f}%: the model may mask its gradients, and the robust "
            "accuracy under attacks with gradients may be too high",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the accuracies and everything they depend on, for JSON; without the examples."""
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
    """Choose the examples to evaluate: the same images whatever their order in the data.

    Parameters
    ----------
    content_hash : ndarray of uint64, shape (N,)
        Of each example; see `datacurate.fingerprints.content_hashes`.
    count : int
        How many examples; 0, or more than there are, means all.

    Returns
    -------
    ndarray of int64, shape (count,)
        Rows in ascending order. They have the smallest mixed hashes; of equal images, those that
        come first are chosen first.
    """
    if count == 0 or count >= len(content_hash):
        return np.arange(len(content_hash))
    order = mix64(seed64("evaluation"), content_hash)
    return np.sort(np.argsort(order, kind="stable")[:count])


def evaluate(
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    settings: AttackSettings | None = None,
    *,
    state: AttackState | None = None,
    save: Callable[[AttackState], None] | None = None,
    progress: AttackProgress | None = None,
    **changes: Any,
) -> Evaluation:
    """Attack one model and return its clean, PGD-10 and robust accuracy.

    Float32 decides whether an example is broken, whatever the dtype of the search. Each example's
    noise depends on the seed and its pixels. The model is returned to the state it was in.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
    settings : AttackSettings, optional
        By default AutoAttack standard at radius 8/255. With the dtype ``"auto"``, the search is in
        bfloat16 if the model's device is faster in it, and in float32 otherwise.
    state, save
        To resume; see `datacurate.attacks.autoattack.autoattack`. PGD-10 comes after the suite.
    progress : callable, optional
        ``progress(attack, examples_done, examples)`` after each batch.
    **changes
        Single fields of the settings by name, such as ``suite="pgd-10"`` or ``radius_255=4``.

    Returns
    -------
    Evaluation

    Raises
    ------
    DatacurateError
        As `datacurate.attacks.autoattack.autoattack` does.
    """
    settings = replace(settings or AttackSettings(), **changes)
    x = as_pixels(torch.from_numpy(images))
    y = torch.from_numpy(labels)
    device = device_of(model, x)
    execution = Execution(device=str(device), dtype=settings.dtype, kernels="eager")
    settings = replace(settings, dtype=devices.resolve(execution).dtype)
    states = [] if state is None else [state]

    def save_state(reached: AttackState) -> None:
        states[:] = [reached]
        if save is not None:
            save(reached)

    outcome = autoattack(
        model,
        x,
        y,
        settings,
        keys=content_hashes(images),
        state=state,
        save=save_state,
        progress=progress,
    )
    reached = states[0]  # a suite has at least one attack
    if "pgd10" not in reached:
        attack = Attack(radius=settings.radius_255, step=2, steps=10, start="zero")
        with full_float32(device):
            correct = correct_under_pgd(
                model, x, y, attack, batch_size=settings.batch_size or BATCH, progress=progress
            )
        reached = {**reached, "pgd10": correct.tolist()}
        save_state(reached)
    pgd10 = np.array(reached["pgd10"], dtype=np.bool_)
    return Evaluation(pgd10=pgd10, outcome=outcome, device=str(device), torch=torch.__version__)


def _accuracy(correct: npt.NDArray[np.bool_]) -> Accuracy:
    return Accuracy(int(np.count_nonzero(correct)), len(correct))
