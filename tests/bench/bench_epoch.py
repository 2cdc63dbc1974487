"""An epoch from end to end, beside the same written plainly: data, training, record, checkpoint.

``python -m tests.bench.bench_epoch [--data DIR] [--examples N]`` takes CIFAR-10 from DIR,
``$DATACURATE_DATA`` or the cache. Both sides train a small network by single-step training on the
same images, record what was right, attack 200 test images by PGD-10 and save. The plain side is a
``Dataset`` of PIL images with torchvision's transforms and a ``DataLoader`` without workers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from datacurate.data import load
from datacurate.machine import environment
from datacurate.recipes import (
    PROFILE_RECIPES,
    Augmentation,
    CheckpointSelection,
    Execution,
    Model,
    Training,
)
from datacurate.training import devices
from datacurate.training.examples import TrainingData
from datacurate.training.loop import fit, pace
from tests.bench.plain import network, pgd, sgd, train_step

EVALUATED = 200


class Images(Dataset[tuple[Tensor, int, int]]):
    """Images with their index, cropped and flipped one at a time."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        image = self.transform(Image.fromarray(self.images[index]))
        return image, int(self.labels[index]), index


def plain_epoch(data: TrainingData, training: Training, out: Path) -> float:
    """Return the seconds of an epoch written plainly."""
    attack = training.attack
    radius, step = attack.radius / 255, attack.step / 255
    started = time.perf_counter()
    net = network(training.model.name)
    optimizer = sgd(net)
    loader = DataLoader(Images(data.images, data.labels), batch_size=128, shuffle=True)
    right = np.zeros(len(data.labels), dtype=bool)
    for x, y, index in loader:
        logits = train_step(net, optimizer, x, y, radius, step, attack.steps)
        right[index.numpy()] = (logits.argmax(dim=1) == y).numpy()
    net.eval()
    x = torch.from_numpy(data.selection_images).permute(0, 3, 1, 2).float().div(255).contiguous()
    y = torch.from_numpy(data.selection_labels)
    adversarial = pgd(net, x, y, 8 / 255, 2 / 255, 10)
    with torch.no_grad():
        for images in (x, adversarial):
            float((net(images).argmax(dim=1) == y).float().mean())
    np.save(out / "right.npy", right)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, out / "plain.pt")
    return time.perf_counter() - started


def our_epoch(data: TrainingData, training: Training, execution: Execution, out: Path) -> float:
    """Return the seconds of `fit` for one epoch."""
    started = time.perf_counter()
    fit(training, execution, data, 0, out / "state.pt")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--model", choices=["preact-small", "cnn-small"], default="preact-small")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--kernels", choices=["compiled", "eager"], default="compiled")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args()
    loaded = load("cifar10", chosen.data)
    count = chosen.examples
    data = TrainingData(
        images=loaded.train.images[:count],
        labels=loaded.train.labels[:count],
        rows=np.arange(count),
        selection_images=loaded.test.images[:EVALUATED],
        selection_labels=loaded.test.labels[:EVALUATED],
        classes=10,
    )
    training = replace(
        PROFILE_RECIPES["proxy"].training,
        epochs=1,
        model=Model(chosen.model, 16),
        augmentation=Augmentation(4, True),
        selection=CheckpointSelection(),
    )
    execution = devices.resolve(Execution("cpu", chosen.dtype, chosen.threads, chosen.kernels))
    if devices.compiler_missing("cpu") is not None:
        execution = replace(execution, kernels="eager")
    machine = environment()
    print(f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}")
    print(f"{chosen.model}, {count:,} images; ours: {devices.describe(execution)}")
    setup = pace(training, execution, data).setup_seconds
    torch.set_num_threads(execution.threads)
    with tempfile.TemporaryDirectory() as folder:
        plain = plain_epoch(data, training, Path(folder))
        ours = our_epoch(data, training, execution, Path(folder))
    print(f"  plain {plain:6.1f} s, {count / plain:6.0f} images/s")
    print(f"  ours  {ours:6.1f} s, {count / ours:6.0f} images/s, after {setup:.1f} s of set-up")
    print(f"  ratio {plain / ours:.2f}")


if __name__ == "__main__":
    main()
