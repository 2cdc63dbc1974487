"""Run a suite of attacks on one model: one attack after another over the surviving examples.

The suite runs with our attacks or with those of the reference implementation. This module adds
what an evaluation needs around them: targets for any number of classes, an explicit seed, a record
of which attack broke which example and of what was spent on each, a confirmation of every
adversarial example in float32, and a state from which the work can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datacurate.attacks.acceleration.accelerate import accelerate, unaccelerated
from datacurate.attacks.acceleration.parallel import run_in_parallel, split_rows
from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.batch_size import BATCH, fitting
from datacurate.attacks.clean_pass import clean_pass
from datacurate.attacks.correctness import AttackProgress
from datacurate.attacks.fingerprint import attack_fingerprint
from datacurate.attacks.frozen import device_of, frozen
from datacurate.attacks.outcome import CLEAN_WRONG, SURVIVED, AttackOutcome, AttackState
from datacurate.attacks.plan import Pass, SuitePlan, plan
from datacurate.attacks.precision import full_float32
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.table import ATTACKS, AttackSpec
from datacurate.attacks.validation import (
    require_pixels,
    require_same,
    require_surrogate,
    require_within,
)
from datacurate.errors import UnknownNameError
from datacurate.fingerprints import U64, seed64

SEARCH_VERSION = 4
"""Version of our attacks: it grows when their results change."""

Rows = npt.NDArray[np.int64]

_MASKING_SHARE = 0.002  # more than this broken without gradients alone is a sign of masking
_SAMPLE = 16  # images on which copies of a network are compared with it


def autoattack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    settings: AttackSettings,
    *,
    keys: U64 | None = None,
    state: AttackState | None = None,
    save: Callable[[AttackState], None] | None = None,
    progress: AttackProgress | None = None,
) -> AttackOutcome:
    """Attack a model with a suite and return what broke each example.

    Misclassified examples are set aside first. Then each attack runs over the examples that the
    attacks before it left. An adversarial example counts once a fresh float32 pass confirms the
    wrong label; it must lie in the ball and in the pixel range. The model is returned to the state
    it was in, and no global random generator is changed.

    The result of an example depends on the seed and its key, not on the other examples, except for
    rounding: kernels may add in another order for another batch size. All examples share Square's
    sequence of squares. An example leaves when it breaks; every other one gets all steps of each
    attack, and the outcome counts them. An example that breaks in the search but not in the fresh
    pass goes on to the next attack. If few examples are left, several targets of a targeted attack
    share a batch.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor of float32, shape (N, C, H, W)
        Pixels in [0, 1]; moved to the model's device batch by batch.
    y : Tensor of int64, shape (N,)
    settings : AttackSettings
        With the dtype ``"auto"``, the search is in float32.
    keys : ndarray of uint64, shape (N,), optional
        What each example's noise depends on, such as its content hash; by default its position.
    state : AttackState, optional
        Where an earlier call with the same model, data and settings stopped.
    save : callable, optional
        Called with the state after each attack, or after some targets of a targeted one.
    progress : callable, optional
        ``progress(attack, examples_done, examples)`` after each batch.

    Returns
    -------
    AttackOutcome

    Raises
    ------
    UsageError
        If shapes, pixels or labels do not fit, or a surrogate is missing or not needed.
    StateError
        If the state belongs to other work.
    DatacurateError
        If logits are not finite or random, or an attack leaves the ball or the pixel range.
    """
    suite = AutoAttack(model, x, y, settings, keys=keys)
    return suite.run(state=state, save=save, progress=progress)


class AutoAttack:
    """One run of a suite on one model; see `autoattack`.

    Parameters
    ----------
    model : Module
    x : Tensor of float32, shape (N, C, H, W)
    y : Tensor of int64, shape (N,)
    settings : AttackSettings
    keys : ndarray of uint64, shape (N,), optional
    attacks : mapping of str to AttackSpec, optional
        The table of attacks; by default that of the implementation in the settings.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        settings: AttackSettings,
        *,
        keys: U64 | None = None,
        attacks: Mapping[str, AttackSpec] | None = None,
    ) -> None:
        self._model, self._x, self._y, self._settings = model, x, y, settings
        self._keys = np.arange(len(x), dtype=np.uint64) if keys is None else keys
        require_pixels(x, y, self._keys)
        self._attacks, self._title = _implementation(settings)
        if attacks is not None:
            self._attacks = attacks
        self._device = device_of(model, x)
        self._networks = [model]
        if settings.surrogate is not None:
            self._networks.append(settings.surrogate)
        # What changes while the suite runs.
        self._broken_by = np.full(len(x), SURVIVED, dtype=np.int8)
        self._seconds: list[float] = []
        self._spent = np.zeros((0, len(x), 3), dtype=np.int32)
        self._unconfirmed = 0
        self._passes_done = 0

    def run(
        self,
        *,
        state: AttackState | None = None,
        save: Callable[[AttackState], None] | None = None,
        progress: AttackProgress | None = None,
    ) -> AttackOutcome:
        """Run the suite, or the rest of it after a saved state.

        Parameters
        ----------
        state : AttackState, optional
        save, progress : callable, optional
            As for `autoattack`.

        Returns
        -------
        AttackOutcome
        """
        with self._undisturbed():
            suite, warnings = self._clean_pass()
            fingerprint = attack_fingerprint(
                self._networks, self._x, self._y, self._keys, self._identity(suite)
            )
            if state is not None:
                require_same(state, fingerprint)
                self._restore(state)
            if self._passes_done < len(suite.passes):
                self._prepare_models()
            while self._passes_done < len(suite.passes):
                self._run_passes(suite, progress)
                if save is not None:
                    save(self._state(fingerprint))
        warnings += self._masking_warnings(suite)
        return AttackOutcome(
            suite=self._settings.suite,
            label=suite.label,
            attacks=suite.attacks,
            broken_by=self._broken_by,
            seconds=tuple(self._seconds),
            unconfirmed=self._unconfirmed,
            radius=self._settings.radius,
            seed=self._settings.seed,
            implementation=self._title,
            warnings=tuple(warnings),
            spent=self._spent,
        )

    def attacked_model(self, network: nn.Module, sample: Tensor) -> AttackedModel:
        """Return a network as the attacks see it.

        Parameters
        ----------
        network : Module
            The model or the surrogate.
        sample : Tensor of float32, shape (B, C, H, W)
            Images on the model's device, with which copies of the network are checked.

        Returns
        -------
        AttackedModel
        """
        if self._settings.implementation == "package":
            return unaccelerated(network)
        dtype = torch.bfloat16 if self._settings.dtype == "bfloat16" else torch.float32
        return accelerate(network, sample, dtype, self._settings.acceleration)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Freeze the networks, and protect the global generator, which the package draws from."""
        with (
            ExitStack() as frozen_networks,
            torch.random.fork_rng(devices=[]),
            torch.autocast(self._device.type, enabled=False),
            torch.no_grad(),
        ):
            for network in self._networks:
                frozen_networks.enter_context(frozen(network))
            yield

    def _predict(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self._model(pixels)
        return logits.float()

    def _clean_pass(self) -> tuple[SuitePlan, list[str]]:
        """Set misclassified examples aside; return the plan for the model's classes."""
        settings = self._settings
        batch_size = settings.batch_size or BATCH
        clean = clean_pass(self._predict, self._x, self._y, batch_size, self._device)
        self._broken_by[~clean.correct] = CLEAN_WRONG
        require_surrogate(settings.suite, settings.surrogate)
        suite = plan(settings.suite, clean.classes, steps=settings.steps, attacks=self._attacks)
        self._seconds = [0.0] * len(suite.attacks)
        self._spent = np.zeros((len(suite.attacks), len(self._x), 3), dtype=np.int32)
        return suite, list(clean.warnings)

    def _identity(self, suite: SuitePlan) -> list[object]:
        """Return the settings that the outcome depends on."""
        settings = self._settings
        identity: list[object] = [suite.label, settings.radius, settings.seed, self._title]
        # Only steps that differ from the suite's count, so that older states stay usable.
        return [*identity, dict(settings.steps)] if settings.steps else identity

    def _prepare_models(self) -> None:
        sample = self._x[:_SAMPLE].to(self._device).float()
        self._models = [self.attacked_model(network, sample) for network in self._networks]
        self._batch_size = self._settings.batch_size or min(
            fitting(model, sample) for model in self._models
        )
        # Do not split batches on a GPU. Untraceable models may not be thread-safe.
        self._splits = self._device.type == "cpu" and all(
            model.folded is not None for model in self._models
        )

    def _run_passes(self, suite: SuitePlan, progress: AttackProgress | None) -> None:
        """Run the next pass, or several passes of one attack in shared batches."""
        survivors = np.flatnonzero(self._broken_by == SURVIVED)
        passes = suite.next_passes(self._passes_done, self._passes_per_batch(len(survivors)))
        name = passes[0].attack
        attack = suite.attacks.index(name)
        began = time.perf_counter()
        close = []
        for end, rows in _batches(survivors, self._batch_size):
            close.append(self._attack_rows(attack, passes, rows, self._models))
            if progress is not None:
                progress(name, end, len(survivors))
        in_float32 = [model.float32 or model for model in self._models]
        for _, rows in _batches(np.concatenate([*close, survivors[:0]]), self._batch_size):
            self._attack_rows(attack, passes, rows, in_float32)
        self._seconds[attack] += time.perf_counter() - began
        self._passes_done += len(passes)

    def _passes_per_batch(self, survivors: int) -> int:
        """Return how many passes of a targeted attack fit into a batch of the survivors."""
        if self._settings.implementation == "package":
            return 1
        rows = self._batch_size
        if self._splits:
            rows = min(rows, self._settings.rows_per_thread * torch.get_num_threads())
        return rows // max(1, min(survivors, self._batch_size))

    def _attack_rows(
        self, attack: int, passes: Sequence[Pass], rows: Rows, models: Sequence[AttackedModel]
    ) -> Rows:
        """Attack some rows and record the result; return those to attack again in float32."""
        spec = self._attacks[passes[0].attack]
        parallel = self._splits and self._settings.acceleration.parallel
        split = split_rows(rows) if parallel else [rows]
        batches = [
            # Images stored channels last do not have rows that are views.
            AttackBatch(
                models[0],
                self._x[part].to(self._device).float().contiguous(),
                self._y[part].to(self._device),
                self._settings.radius,
                runs=len(passes),
            )
            for part in split
        ]
        searches = [
            partial(_search, spec, batch, self._arguments(passes, part, models))
            for part, batch in zip(split, batches, strict=True)
        ]
        autograd = (spec.gradients or spec.surrogate) and any(
            model.explicit_gradients is None for model in models
        )
        run_in_parallel(searches, batches, autograd=autograd)
        close = [
            self._record(attack, passes[0].attack, part, batch)
            for part, batch in zip(split, batches, strict=True)
        ]
        return np.concatenate(close)

    def _arguments(
        self, passes: Sequence[Pass], rows: Rows, models: Sequence[AttackedModel]
    ) -> AttackArguments:
        seed = self._settings.seed
        return AttackArguments(
            steps=passes[0].steps,
            keys=self._keys[rows],
            seeds=tuple(seed64("autoattack", seed, step.attack, step.target) for step in passes),
            targets=tuple(step.target for step in passes),
            queries_per_pass=self._settings.rows_per_thread if self._splits else self._batch_size,
            surrogate=models[-1] if len(models) > 1 else None,
        )

    def _record(self, attack: int, name: str, rows: Rows, batch: AttackBatch) -> Rows:
        """Confirm and record the result of a batch; return the rows that came close."""
        merged = batch.per_example()
        claimed = merged.broken
        require_within(name, merged.candidates[claimed], merged.x[claimed], merged.radius)
        confirmed = claimed.clone()
        if claimed.any():
            with full_float32(self._device):
                predicted = self._predict(merged.candidates[claimed]).argmax(dim=1)
            confirmed[claimed] = predicted != merged.y[claimed]
        self._spent[attack, rows] += np.stack([merged.steps, merged.forwards, merged.gradients], 1)
        self._unconfirmed += merged.unconfirmed + int(claimed.sum()) - int(confirmed.sum())
        self._broken_by[rows[confirmed.cpu().numpy()]] = attack
        close = ~confirmed & (merged.smallest_margin <= merged.model.rounding_error)
        close_rows: Rows = rows[close.cpu().numpy()]
        return close_rows

    def _restore(self, state: AttackState) -> None:
        self._broken_by = np.array(state["broken_by"], dtype=np.int8)
        self._seconds = list(state["seconds"])
        self._spent = np.array(state["spent"], dtype=np.int32).reshape(self._spent.shape)
        self._unconfirmed = state["unconfirmed"]
        self._passes_done = state["passes"]

    def _state(self, fingerprint: str) -> AttackState:
        return AttackState(
            fingerprint=fingerprint,
            passes=self._passes_done,
            broken_by=self._broken_by.tolist(),
            seconds=list(self._seconds),
            unconfirmed=self._unconfirmed,
            spent=self._spent.tolist(),
        )

    def _masking_warnings(self, suite: SuitePlan) -> list[str]:
        """Return a warning if an attack without gradients broke what those with them missed."""
        with_gradients = [self._attacks[name].gradients for name in suite.attacks]
        warnings = []
        for attack, name in enumerate(suite.attacks):
            share = float(np.mean(self._broken_by == attack))
            if not with_gradients[attack] and any(with_gradients) and share > _MASKING_SHARE:
                warnings.append(
                    f"{self._attacks[name].title} alone broke {share:.1%} of the examples: the "
                    "model may mask its gradients, and the robust accuracy may be too high"
                )
        return warnings


def _batches(rows: Rows, size: int) -> Iterator[tuple[int, Rows]]:
    """Yield rows in batches, each with the number of rows up to its end."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        yield start + len(batch), batch


def _search(spec: AttackSpec, batch: AttackBatch, arguments: AttackArguments) -> Tensor:
    """Run an attack on a batch and return which rows it broke."""
    spec.run(batch, arguments)
    return batch.broken


def _implementation(settings: AttackSettings) -> tuple[Mapping[str, AttackSpec], str]:
    """Return the table of attacks of an implementation, and its title for records."""
    if settings.implementation == "own":
        dtype = "bfloat16" if settings.dtype == "bfloat16" else "float32"
        return ATTACKS, f"datacurate searches {SEARCH_VERSION}, {dtype}"
    if settings.implementation == "package":
        from datacurate.attacks.reference import reference_attacks, reference_title

        return reference_attacks(), reference_title()
    raise UnknownNameError("implementation", settings.implementation, ("own", "package"))
