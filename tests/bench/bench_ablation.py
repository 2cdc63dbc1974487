"""What each acceleration brings, end to end: everything on, and each off in turn.

``python -m tests.bench.bench_ablation --data DIR`` trains two small networks on a part of CIFAR-10,
attacks them with AutoAttack, and prints a Markdown table. Every variant attacks the same images in
the same run; the verdicts must be equal. Then it times PGD-10 training steps. Nothing else should
run beside it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from datacurate.attacks.acceleration.switches import Acceleration
from datacurate.attacks.settings import AttackSettings
from datacurate.data import DataSet, load
from datacurate.evaluation import Evaluation, choose_examples, evaluate
from datacurate.machine import environment
from datacurate.recipes import PROFILE_RECIPES, Attack, Augmentation, Execution, Model, Training
from datacurate.training import devices
from datacurate.training.checkpoints import rebuild_network
from datacurate.training.examples import TrainingData
from datacurate.training.loop import fit
from tests.bench.bench_step import BATCH, our_step, plain_step, seconds

NETWORKS = ("preact-small", "preact-patch")
VARIANTS = {
    "everything on": Acceleration(),
    "no input_gradients": Acceleration(input_gradients=False),
    "no incremental_forward": Acceleration(incremental_forward=False),
    "no parallel": Acceleration(parallel=False),
    "no batchnorm_folding (and no input_gradients, incremental_forward)": Acceleration(
        batchnorm_folding=False
    ),
}


@dataclass(frozen=True)
class Images:
    """Attacked images and their labels."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def trained(name: str, data: DataSet, epochs: int, examples: int) -> nn.Module:
    """Return a network trained by single-step adversarial training at radius 8/255."""
    training = replace(
        PROFILE_RECIPES["proxy"].training,
        epochs=epochs,
        memorization=0.0,
        model=Model(name, 16),
        attack=Attack(radius=8.0, step=10.0, steps=1),
        augmentation=Augmentation(4, True),
    )
    split = data.train
    learned = TrainingData(
        split.images, split.labels, np.arange(examples), split.images[:200], split.labels[:200], 10
    )
    execution = devices.resolve(Execution("cpu", "float32", 0, "eager"))
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(training, execution, learned, 0, Path(folder) / "state.pt")
    return rebuild_network(fitted.last, training.model, 10, 3).eval()


def attack(
    net: nn.Module, images: Images, suite: str, switches: Acceleration
) -> tuple[float, Evaluation]:
    """Return the seconds of an evaluation and its result."""
    settings = AttackSettings(suite=suite, acceleration=switches)
    began = time.perf_counter()
    result = evaluate(net, images.images, images.labels, settings)
    return time.perf_counter() - began, result


def ablate_attacks(name: str, net: nn.Module, images: Images, suite: str, repeats: int) -> None:
    """Print a row for each variant: its time, and the ratio to everything on."""
    attack(net, Images(images.images[:4], images.labels[:4]), suite, Acceleration())  # warm-up
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    verdicts = {}
    for _ in range(repeats):
        for variant, switches in VARIANTS.items():
            seconds_spent, result = attack(net, images, suite, switches)
            times[variant].append(seconds_spent)
            verdicts[variant] = result.outcome.robust
    reference = min(times["everything on"])
    for variant, spent in times.items():
        differing = int(np.count_nonzero(verdicts[variant] != verdicts["everything on"]))
        print(
            f"| {suite}, {name} 16, {int(verdicts[variant].sum())} of {len(images.labels)} survive "
            f"| {variant} | {min(spent):.1f} s | {min(spent) / reference:.2f}× | {differing} |",
            flush=True,
        )


def ablate_training(networks: Sequence[tuple[str, int | None]], repeats: int) -> None:
    """Print the time of a PGD-10 step: compiled, eager, and written plainly."""
    execution = devices.resolve(Execution("cpu", "float32", 0, "eager"))
    for name, width in networks:
        training = Training(
            model=Model(name, width), attack=Attack(), augmentation=Augmentation(4, True)
        )
        times: dict[str, list[float]] = {}
        with devices.deterministic(execution):
            compiled = our_step(training, replace(execution, kernels="compiled"))
            eager = our_step(training, execution)
            torch.use_deterministic_algorithms(False)
            plain, _ = plain_step(training, "cpu")
            steps = {"compiled": compiled, "eager": eager, "written plainly": plain}
            for number in range(repeats + 1):
                for variant, step in steps.items():
                    torch.use_deterministic_algorithms(variant != "written plainly")
                    spent = seconds(step, "cpu")
                    if number:  # the first step compiles
                        times.setdefault(variant, []).append(spent)
            torch.use_deterministic_algorithms(False)
        for variant, measured in times.items():
            ratio = min(measured) / min(times["compiled"])
            print(
                f"| PGD-10 step, {name}, batch {BATCH} | {variant} | {min(measured):.3f} s "
                f"| {ratio:.2f}× | |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("-n", type=int, default=48, help="attacked images")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--examples", type=int, default=8000, help="trained on")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="also a step of the ResNet-18")
    parser.add_argument("--suites", default="standard,custom")
    options = parser.parse_args()
    machine = environment()
    print(
        f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}, float32, "
        f"{options.n} images, radius 8/255, seed 0, best of {options.repeats}\n"
    )
    print("| work | variant | time | time ÷ everything on | verdicts that differ |")
    print("|---|---|---:|---:|---:|")
    data = load("cifar10", options.data)
    content = data.test.identity.content_hash
    assert content is not None
    rows = choose_examples(content, options.n)
    images = Images(data.test.images[rows], data.test.labels[rows])
    for name in NETWORKS:
        net = trained(name, data, options.epochs, options.examples)
        for suite in options.suites.split(","):
            ablate_attacks(name, net, images, suite, options.repeats)
    networks: list[tuple[str, int | None]] = [("preact-small", 16)]
    if options.large:
        networks.append(("preact-resnet18", None))
    ablate_training(networks, max(3, options.repeats))


if __name__ == "__main__":
    main()
