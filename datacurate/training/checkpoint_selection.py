"""Accuracy on the examples that choose the best checkpoint of a training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from datacurate.attacks.pgd import pgd
from datacurate.data.batches import as_pixels
from datacurate.recipes import CheckpointSelection, Execution
from datacurate.training.devices import autocast
from datacurate.training.examples import TrainingData

_BATCH = 500


def selection_accuracy(
    net: nn.Module, data: TrainingData, selection: CheckpointSelection, execution: Execution
) -> tuple[float, float]:
    """Return clean and robust accuracy on the selection set, in [0, 1].

    If only some examples are attacked, they are spread evenly over the set, and the clean accuracy
    is measured on the same examples.
    """
    total = len(data.selection_labels)
    count = min(selection.examples or total, total)
    picked = np.linspace(0, total, count, endpoint=False).astype(np.int64)
    device = next(net.parameters()).device
    clean = robust = 0
    for start in range(0, count, _BATCH):
        rows = picked[start : start + _BATCH]
        x = as_pixels(torch.from_numpy(data.selection_images[rows]).to(device))
        y = torch.from_numpy(data.selection_labels[rows]).to(device)
        net.eval()
        with autocast(execution):
            adversarial = pgd(
                net,
                x,
                y,
                radius=selection.attack.radius / 255,
                step=selection.attack.step / 255,
                steps=selection.attack.steps,
                start=selection.attack.start,
            )
            with torch.no_grad():
                clean += int((net(x).argmax(dim=1) == y).sum())
                robust += int((net(adversarial).argmax(dim=1) == y).sum())
    return clean / count, robust / count
