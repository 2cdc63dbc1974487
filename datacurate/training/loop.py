"""One training, from initial weights to the last epoch, resumable at every epoch.

Everything random is keyed by (seed, epoch, example or batch), so the state after an epoch is the
weights, the momentum of the optimiser and the record. They are saved as one file, so no epoch is
counted twice or lost.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from datacurate.data.batches import UNCHANGED, augment_batch, epoch_order
from datacurate.errors import CheckpointError, TrainingError
from datacurate.fingerprints import seed64
from datacurate.ranks.scores import RunRecord
from datacurate.recipes import Execution, Training
from datacurate.training import devices
from datacurate.training.checkpoint_selection import selection_accuracy
from datacurate.training.checkpoints import load_tensors, save_tensors
from datacurate.training.examples import TrainingData, initial_network
from datacurate.training.history import EpochReport
from datacurate.training.methods import method
from datacurate.training.record import Record
from datacurate.training.schedule import learning_rate, memorizes_from

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Probe:
    """A computation on the network during a training.

    Attributes
    ----------
    epoch : int
        Epoch after which it is computed, 1-based.
    compute : callable
        Takes the network and does not change it. Its result is saved with the state.
    """

    epoch: int
    compute: Callable[[nn.Module], dict[str, Tensor]]


@dataclass(frozen=True)
class Fit:
    """The result of a training.

    Attributes
    ----------
    record : RunRecord
        Record of the examples at `TrainingData.rows`.
    best, last : dict of str to Tensor
        State dicts at the best epoch and after the last, on the CPU. The best has the highest
        robust accuracy on the selection set; in standard training the highest clean accuracy.
    best_epoch : int
        1-based.
    history : list of EpochReport
    probed : dict of str to Tensor
        Result of the probe, if there was one.
    """

    record: RunRecord
    best: Weights
    last: Weights
    best_epoch: int
    history: list[EpochReport]
    probed: dict[str, Tensor]

    def at(self, epoch: int) -> EpochReport:
        """Return the report of an epoch, 1-based."""
        return self.history[epoch - 1]


def fit(
    training: Training,
    execution: Execution,
    data: TrainingData,
    seed: int,
    state: Path,
    on_epoch: Callable[[list[EpochReport]], None] | None = None,
    probe: Probe | None = None,
) -> Fit:
    """Train a network, or continue where an earlier call with the same arguments stopped.

    Parameters
    ----------
    training : Training
        With padding and flip decided.
    execution : Execution
        Decided for this machine.
    data : TrainingData
    seed : int
        Seed of weights, order, augmentation and noise.
    state : Path
        File that is written after every epoch, and read at the start if it exists.
    on_epoch : callable, optional
        Called with the history so far after each epoch is saved.
    probe : Probe, optional

    Raises
    ------
    TrainingError
        If the loss is not finite or memory runs out. The last good state is kept.
    """
    with devices.deterministic(execution) as device:
        run = Run(training, execution, data, seed, device)
        if state.exists():
            try:
                run.load_state_dict(load_tensors(state))
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise CheckpointError(
                    f"the state in {state} does not fit this training",
                    got=str(error).splitlines()[0][:200],
                    hint="start anew with --force",
                ) from error
        for epoch in range(len(run.history), training.epochs):
            with devices.explain_out_of_memory(execution, training.optimizer.batch_size):
                run.train_epoch(epoch)
                if probe is not None and probe.epoch == epoch + 1:
                    run.probed = probe.compute(run.net)
            save_tensors(state, run.state_dict())
            if on_epoch is not None:
                on_epoch(list(run.history))
        return run.finished()


@dataclass(frozen=True)
class Pace:
    """How fast a training is on this machine.

    Attributes
    ----------
    setup_seconds : float
        Time before the first step, for compiling kernels; once for each process.
    epoch_seconds : float
        Time of an epoch.
    """

    setup_seconds: float
    epoch_seconds: float


def pace(training: Training, execution: Execution, data: TrainingData, steps: int = 4) -> Pace:
    """Measure the pace of a training on a few steps, which are discarded.

    Kernels that are compiled here are used again by later trainings of this process.
    """
    with (
        devices.explain_out_of_memory(execution, training.optimizer.batch_size),
        devices.deterministic(execution) as device,
    ):
        began = time.perf_counter()
        run = Run(training, execution, data, 0, device)
        size = min(training.optimizer.batch_size, len(data.rows))
        order = np.arange(size)
        run.train_batch(order, 0, 0)
        started = time.perf_counter()
        for step in range(1, steps + 1):
            run.train_batch(order, 0, step)
        a_step = (time.perf_counter() - started) / steps
        # Evaluating and saving adds about a tenth (measured on small nets).
        return Pace(max(0.0, started - began - a_step), 1.1 * a_step / size * len(data.rows))


class Run:
    """The state of one training."""

    def __init__(
        self,
        training: Training,
        execution: Execution,
        data: TrainingData,
        seed: int,
        device: torch.device,
    ) -> None:
        self.training, self.execution, self.data, self.seed = training, execution, data, seed
        self.step = method(training.method)
        self.net = initial_network(training, data, seed).to(device)
        # A graph has one shape, so only full batches use it.
        self.full = devices.fast_passes(self.net, execution, training.optimizer.batch_size)
        optimizer = training.optimizer
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=optimizer.learning_rate,
            momentum=optimizer.momentum,
            weight_decay=optimizer.weight_decay,
        )
        self.record = Record(len(data.rows), training.epochs, device)
        self.images = torch.from_numpy(data.images).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)
        self.steps_per_epoch = math.ceil(len(data.rows) / optimizer.batch_size)
        self.history: list[EpochReport] = []
        self.best: Weights = {}
        self.probed: dict[str, Tensor] = {}
        self.best_epoch = 0

    def train_epoch(self, epoch: int) -> None:
        """Train on every example once, and evaluate if this epoch is due."""
        started = time.perf_counter()
        before = self.history[-1].seconds if self.history else 0.0
        size = self.training.optimizer.batch_size
        order = epoch_order(len(self.data.rows), self.seed, epoch)
        right, loss = 0, 0.0
        for index, start in enumerate(range(0, len(order), size)):
            places = order[start : start + size]
            batch_right, batch_loss = self.train_batch(
                places, epoch, epoch * self.steps_per_epoch + index
            )
            right += batch_right
            loss += batch_loss * len(places)
        trained = time.perf_counter() - started
        self.record.close_epoch(epoch)
        if not math.isfinite(loss):
            raise TrainingError(
                f"training diverged: the loss is not finite in epoch {epoch + 1}",
                hint="lower training.optimizer.learning_rate; the state before this epoch is kept",
            )
        clean, robust = self._select(epoch)
        report = EpochReport(
            epoch=epoch + 1,
            epochs=self.training.epochs,
            loss=loss / len(order),
            train_robust=right / len(order),
            clean=clean,
            robust=robust,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=before + time.perf_counter() - started,
            examples_per_second=len(order) / trained,
        )
        self.history.append(report)

    def train_batch(
        self, places: npt.NDArray[np.int64], epoch: int, step: int
    ) -> tuple[int, float]:
        """Take one step; return the number of examples correct under attack, and the loss."""
        training = self.training
        rows = self.data.rows[places]
        memorizing = epoch >= memorizes_from(training)
        self.optimizer.param_groups[0].update(
            lr=learning_rate(training.optimizer, step, self.steps_per_epoch, training.epochs),
            weight_decay=0.0 if memorizing else training.optimizer.weight_decay,
        )
        generator = torch.Generator().manual_seed(seed64("noise", self.seed, step))
        try:
            augmentation = UNCHANGED if memorizing else training.augmentation
            x = augment_batch(self.images, rows, augmentation, self.seed, epoch)
            y = self.labels[torch.from_numpy(rows).to(self.labels.device)]
            self.net.train()
            # A last batch of one example has no batch statistics, so running statistics are used.
            if len(rows) == 1:
                self.net.eval()
            net = self.full if len(rows) == training.optimizer.batch_size else self.net
            with devices.autocast(self.execution):
                loss, recorded = self.step(net, x, y, training, generator)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self.optimizer.step()
        except devices.compile_errors() as error:
            raise TrainingError(
                "the kernels of this training cannot be compiled here",
                got=" ".join(str(error).split())[:300],
                hint=f"remove {devices.compiled_files()} if a compiler was killed there; else "
                "continue where it started, or start anew with "
                "--force --set execution.kernels=eager",
            ) from error
        return self.record.add(places, epoch, recorded, y), float(loss.detach())

    def _select(self, epoch: int) -> tuple[float | None, float | None]:
        """Evaluate on the selection set if this epoch is due, and keep the best weights."""
        selection = self.training.selection
        if (epoch + 1) % selection.every and epoch + 1 < self.training.epochs:
            return None, None
        clean, robust = selection_accuracy(self.net, self.data, selection, self.execution)
        # In standard training no epoch is robust, so the best robust accuracy would be chance.
        by_clean = self.training.method == "standard"
        past = [report.clean if by_clean else report.robust for report in self.history]
        reached = clean if by_clean else robust
        if reached > max((value for value in past if value is not None), default=-1.0):
            self.best = _on_cpu(self.net)
            self.best_epoch = epoch + 1
        return clean, robust

    def finished(self) -> Fit:
        """Return the result of the training."""
        return Fit(
            self.record.finished(),
            self.best,
            _on_cpu(self.net),
            self.best_epoch,
            self.history,
            self.probed,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "record": self.record.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": [dict(vars(report)) for report in self.history],
            "probed": self.probed,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.net.load_state_dict(saved["net"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.record.load_state_dict(saved["record"])
        self.best, self.best_epoch = saved["best"], saved["best_epoch"]
        self.history = [EpochReport(**values) for values in saved["history"]]
        self.probed = saved["probed"]


def _on_cpu(net: nn.Module) -> Weights:
    return copy.deepcopy({name: value.cpu() for name, value in net.state_dict().items()})
