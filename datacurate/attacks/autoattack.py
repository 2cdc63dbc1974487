"""A suite of attacks on one model: in turn over the survivors, each claim confirmed.

The attacks are ours, or those of the `pyautoattack` package (see `datacurate.attacks.searches`).
Around them are the right targets for any number of classes, an explicit seed, a record of which
attack broke which example and of what each example cost, a fresh float32 check of everything
claimed, and a state to resume from.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datacurate.attacks.acceleration.batchnorm_folding import fused, quick
from datacurate.attacks.acceleration.cuda_graphs import Replayed
from datacurate.attacks.acceleration.input_gradients import differentiable
from datacurate.attacks.acceleration.parallel import at_once, parts
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel, Predict
from datacurate.attacks.batch_size import BATCH, fitting
from datacurate.attacks.correctness import AttackProgress
from datacurate.attacks.frozen import device_of, frozen
from datacurate.attacks.outcome import CLEAN_WRONG, SURVIVED, AttackOutcome, AttackState
from datacurate.attacks.precision import full_float32
from datacurate.attacks.searches import Implementation, search
from datacurate.attacks.suites import GRADIENT_FREE, Pass, plan
from datacurate.attacks.validation import (
    require_logits,
    require_pixels,
    require_same,
    require_surrogate,
    require_within,
)
from datacurate.errors import DatacurateError
from datacurate.fingerprints import U64, columns_sha256, configuration_hash

SEARCH_VERSION = 4
"""Of our searches: another number where their results change."""

_ALARM = 0.002  # an attack without gradients that finds more than this alone speaks of masking
_ROWS = 96  # a thread: kernels are fast from about so many on
_SAMPLE = 16  # images on which copies of a network are compared with it
_PROBABILITY = 1e-5  # rounding within which outputs look like probabilities


def autoattack(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    suite: str,
    seed: int,
    batch_size: int | None = None,
    keys: U64 | None = None,
    state: AttackState | None = None,
    save: Callable[[AttackState], None] | None = None,
    progress: AttackProgress | None = None,
    implementation: Implementation = "own",
    dtype: torch.dtype = torch.float32,
    surrogate: nn.Module | None = None,
) -> AttackOutcome:
    """Attack a model with a suite and return what broke each example.

    Misclassified examples are set aside first; then each attack runs over those that the ones
    before it left. A claimed adversarial example counts once a fresh float32 pass confirms the
    wrong label; it must lie in the ball and among the pixels. The model comes back as it was, and
    no global random generator moves.

    An example's result depends on the seed and its key. It does not depend on the other examples,
    but for rounding: kernels may add in another order for another batch size. All of them share
    Square's sequence of squares. An example leaves the batch when it breaks; every other one is
    given each attack's whole budget, and the outcome counts it. The rare example that breaks in the
    search, but not in the fresh pass, goes on with the next attack. Where few examples are left,
    several targets of a targeted attack are searched for at a time.

    Parameters
    ----------
    model : Module
        Takes pixels in [0, 1], float32 of shape (N, C, H, W); returns logits of shape (N, K).
    x : Tensor of float32, shape (N, C, H, W)
        Pixels in [0, 1]; moved to the model's device batch by batch.
    y : Tensor of int64, shape (N,)
    radius : float
        Of the ℓ∞ ball, in pixel units.
    suite : str
        Such as ``"standard"``; see `datacurate.attacks.suites.plan`.
    seed : int
    batch_size : int, optional
        Examples in a batch: 250 by default, on CUDA up to 2,048 of what fits its memory.
    keys : ndarray of uint64, shape (N,), optional
        To which each example's noise belongs, such as its content hash; its position otherwise.
    state : AttackState, optional
        Where an earlier call with the same model, data and settings stopped.
    save : callable, optional
        Given the state after each attack, or after some targets of a targeted one.
    progress : callable, optional
        ``progress(attack, examples_done, examples)`` after each batch.
    implementation : str
        ``"own"``, or ``"package"`` for the attacks of `pyautoattack`.
    dtype : dtype
        In which our attacks look for directions, float32 or bfloat16. Square compares, and every
        claim is decided, in float32. What came so close that bfloat16 may have missed it is
        searched for again in float32.
    surrogate : Module, optional
        What the suite ``"transfer"`` makes its examples for.

    Raises
    ------
    UsageError
        If shapes, pixels or labels do not fit, or ``"transfer"`` has no surrogate.
    StateError
        If the state belongs to other work.
    DatacurateError
        If logits are not finite or random, or an attack leaves the ball or the pixel range.
    """
    keys = np.arange(len(x), dtype=np.uint64) if keys is None else keys
    require_pixels(x, y, keys)
    device = device_of(model, x)

    def predict(pixels: Tensor) -> Tensor:
        logits: Tensor = model(pixels)
        return logits.float()

    # APGD draws a starting point even when it is given one: the fork keeps that unnoticed.
    with (
        torch.random.fork_rng(devices=[]),
        torch.autocast(device.type, enabled=False),
        torch.no_grad(),
        frozen(model),
        frozen(model if surrogate is None else surrogate),
    ):
        broken_by, classes, warnings = _clean_pass(predict, x, y, batch_size or BATCH, device)
        todo = plan(suite, classes)
        title = _title(implementation, dtype)
        require_surrogate(suite, surrogate)
        networks = [model] if surrogate is None else [model, surrogate]
        seconds = [0.0] * len(todo.attacks)
        spent = np.zeros((len(todo.attacks), len(x), 3), dtype=np.int32)
        unconfirmed = done = 0
        fingerprint = _fingerprint(networks, x, y, keys, [todo.label, radius, seed, title])
        if state is not None:
            require_same(state, fingerprint)
            broken_by = np.array(state["broken_by"], dtype=np.int8)
            seconds, unconfirmed = list(state["seconds"]), state["unconfirmed"]
            spent = np.array(state["spent"], dtype=np.int32).reshape(spent.shape)
            done = state["passes"]
        attacked_models = []
        if done < len(todo.passes):
            sample = x[:_SAMPLE].to(device).float()
            attacked_models = [
                _victim(network, sample, dtype, implementation) for network in networks
            ]
            batch_size = batch_size or min(
                fitting(attacked, sample) for attacked in attacked_models
            )
        batch_size = batch_size or BATCH
        # Kernels of an accelerator fill it, and a stranger's module may not be for two threads.
        whole = device.type != "cpu" or any(attacked.folded is None for attacked in attacked_models)

        def searched(
            passes: Sequence[Pass],
            rows: npt.NDArray[np.int64],
            attacked_models: Sequence[AttackedModel],
        ) -> npt.NDArray[np.int64]:
            """Search and return the rows to search again in float32."""
            nonlocal unconfirmed
            name = passes[0].attack
            attack = todo.attacks.index(name)
            cut = [rows] if whole else parts(rows)
            batches = [
                # Rows of an image are views that images stored channels last do not have.
                AttackBatch(
                    attacked_models[0],
                    x[part].to(device).float().contiguous(),
                    y[part].to(device),
                    radius,
                    runs=len(passes),
                )
                for part in cut
            ]
            searches = [
                partial(
                    search,
                    passes,
                    batch,
                    keys=keys[part],
                    seed=seed,
                    implementation=implementation,
                    tries=batch_size if whole else _ROWS,
                    surrogate=attacked_models[-1] if surrogate is not None else None,
                )
                for part, batch in zip(cut, batches, strict=True)
            ]
            autograd = name not in GRADIENT_FREE and any(
                v.explicit_gradients is None for v in attacked_models
            )
            claims = at_once(searches, batches, autograd=autograd)
            close = []
            for part, batch, claim in zip(cut, batches, claims, strict=True):
                found, claimed = batch.per_example(), claim[: len(part)]
                require_within(name, found.candidates[claimed], found.x[claimed], radius)
                hits = _confirmed(predict, found.candidates, claimed, found.y)
                spent[attack, part] += np.stack([found.steps, found.forwards, found.gradients], 1)
                unconfirmed += found.unconfirmed + int(claimed.sum()) - int(hits.sum())
                broken_by[part[hits.cpu().numpy()]] = attack
                near = ~hits & (found.smallest_margin <= attacked_models[0].rounding_error)
                close.append(part[near.cpu().numpy()])
            return np.concatenate(close)

        while done < len(todo.passes):
            attack = todo.attacks.index(todo.passes[done].attack)
            survivors = np.flatnonzero(broken_by == SURVIVED)
            room = batch_size if whole else min(batch_size, _ROWS * torch.get_num_threads())
            if implementation == "package":
                room = 0
            passes = todo.together(done, room // max(1, min(len(survivors), batch_size)))
            began = time.perf_counter()
            name = todo.attacks[attack]
            close = []
            for end, rows in _batches(survivors, batch_size):
                close.append(searched(passes, rows, attacked_models))
                if progress is not None:
                    progress(name, end, len(survivors))
            sharp = [attacked.float32 or attacked for attacked in attacked_models]
            for _, rows in _batches(np.concatenate([*close, survivors[:0]]), batch_size):
                searched(passes, rows, sharp)
            seconds[attack] += time.perf_counter() - began
            done += len(passes)
            if save is not None:
                save(
                    AttackState(
                        fingerprint=fingerprint,
                        passes=done,
                        broken_by=broken_by.tolist(),
                        seconds=list(seconds),
                        unconfirmed=unconfirmed,
                        spent=spent.tolist(),
                    )
                )
    return AttackOutcome(
        suite=suite,
        label=todo.label,
        attacks=todo.attacks,
        broken_by=broken_by,
        seconds=tuple(seconds),
        unconfirmed=unconfirmed,
        radius=radius,
        seed=seed,
        implementation=title,
        warnings=(*warnings, *_masking(todo.attacks, broken_by)),
        spent=spent,
    )


def _batches(rows: npt.NDArray[np.int64], size: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield rows in batches, each with the count of rows up to its end."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        yield start + len(batch), batch


def _clean_pass(
    predict: Predict, x: Tensor, y: Tensor, batch_size: int, device: torch.device
) -> tuple[npt.NDArray[np.int8], int, list[str]]:
    """Set misclassified examples aside, and look at the logits for what makes attacks useless."""
    broken_by = np.full(len(x), SURVIVED, dtype=np.int8)
    classes = 0
    probabilities = True
    for end, rows in _batches(np.arange(len(x)), batch_size):
        pixels = x[rows].to(device)
        with full_float32(device):
            logits = predict(pixels)
            if end == len(rows):
                require_logits(logits, predict(pixels), y)
        if not torch.isfinite(logits).all():
            raise DatacurateError(
                "the model's logits are not finite, so no attack on it means anything",
                hint="evaluate a checkpoint from before its training diverged",
            )
        broken_by[rows[(logits.argmax(dim=1).cpu() != y[rows].cpu()).numpy()]] = CLEAN_WRONG
        classes = logits.shape[1]
        probabilities &= bool(
            (logits.min() > -_PROBABILITY) & ((logits.sum(1) - 1).abs() < _PROBABILITY).all()
        )
    if not probabilities:
        return broken_by, classes, []
    return broken_by, classes, ["the outputs look like probabilities; the attacks need logits"]


def _confirmed(predict: Predict, candidates: Tensor, claimed: Tensor, labels: Tensor) -> Tensor:
    """Return which claims a fresh float32 pass repeats, as bool of shape (N,)."""
    hits = claimed.clone()
    if claimed.any():
        with full_float32(candidates.device):
            hits[claimed] = predict(candidates[claimed]).argmax(dim=1) != labels[claimed]
    return hits


def _victim(
    network: nn.Module, sample: Tensor, dtype: torch.dtype, implementation: Implementation
) -> AttackedModel:
    """Return a network as our searches see it; the package's search with the network itself."""
    taken = Lock()

    def exact(pixels: Tensor) -> Tensor:
        with taken, full_float32(pixels.device):
            logits: Tensor = network(pixels)
        return logits.float()

    if implementation == "package":
        return AttackedModel(exact, exact, exact)
    copied = fused(network, sample, torch.float32)
    if sample.device.type != "cuda":
        explicit = None if copied is None else differentiable(copied, sample)
        steady = quick(network, copied, torch.float32)
        sharp = AttackedModel(exact, steady, steady, copied, explicit)
    elif copied is None:
        sharp = AttackedModel(exact, exact, exact)
    else:
        # cuDNN's float32 kernels want channels first: https://github.com/pytorch/pytorch/issues/44943
        channels_first = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
        recorded = Replayed(quick(channels_first, None, torch.float32))
        sharp = AttackedModel(recorded, recorded, recorded)
    if dtype == torch.float32:
        return sharp
    searched = fused(network, sample, dtype)
    cheapest = quick(network, searched, dtype)
    blur = 2 * float((cheapest(sample) - sharp.float32_logits(sample)).abs().max())
    if sample.device.type == "cuda":
        cheapest = cheapest if copied is None else Replayed(cheapest)
        return replace(sharp, search_logits=cheapest, rounding_error=blur, float32=sharp)
    explicit = None if searched is None else differentiable(searched, sample)
    return replace(
        sharp,
        search_logits=cheapest,
        explicit_gradients=explicit,
        rounding_error=blur,
        float32=sharp,
    )


def _title(implementation: Implementation, dtype: torch.dtype) -> str:
    """Return whose searches these are, and in which arithmetic."""
    if implementation == "package":
        return f"pyautoattack {version('pyautoattack')}"
    return f"datacurate searches {SEARCH_VERSION}, {str(dtype).removeprefix('torch.')}"


def _masking(attacks: tuple[str, ...], broken_by: npt.NDArray[np.int8]) -> list[str]:
    """Return a warning where an attack without gradients found what those with them missed."""
    if "square" not in attacks or len(attacks) == 1:
        return []
    share = float(np.mean(broken_by == attacks.index("square")))
    if share <= _ALARM:
        return []
    return [
        f"Square alone broke {share:.1%} of the examples: the model may mask its gradients, and "
        "the robust accuracy may be too high"
    ]


def _fingerprint(
    networks: list[nn.Module], x: Tensor, y: Tensor, keys: U64, settings: list[object]
) -> str:
    """Return a hash of everything the outcome follows from."""
    weights = {
        f"{role}.{name}": tensor
        for role, network in zip(("model", "surrogate"), networks, strict=False)
        for name, tensor in network.state_dict().items()
    }
    tensors = {"x": x, "y": y, **weights}
    columns = {
        # numpy has no bfloat16; widening is exact.
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
        for name, tensor in tensors.items()
    }
    data = columns_sha256({"keys": keys, **columns})
    return configuration_hash([data, *settings])
