"""Training steps, beside the same algorithm written plainly, in one process with the same threads.

``python -m tests.bench.bench_step`` times a PGD-10 step of a PreAct ResNet-18 (batch 128), then
single-step training of the two small networks, then two processes of one thread against one of
two. ``--only large``, ``small`` or ``processes`` picks a part; ``--dtype float32`` and ``--kernels
eager`` hold ours back. Images are made: their content changes no time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from datacurate.machine import environment
from datacurate.recipes import PROFILE_RECIPES, Attack, Augmentation, Execution, Model, Training
from datacurate.training import devices
from datacurate.training.examples import TrainingData
from datacurate.training.loop import Run
from tests.bench.plain import forward_seconds, network, sgd, train_step, wait

BATCH = 128
LARGE = Training(
    model=Model("preact-resnet18"), attack=Attack(), augmentation=Augmentation(4, True)
)
SMALL = replace(PROFILE_RECIPES["proxy"].training, augmentation=Augmentation(4, True))


def made_data() -> TrainingData:
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (4 * BATCH, 32, 32, 3), dtype=np.uint8)
    labels = chance.integers(0, 10, 4 * BATCH)
    return TrainingData(images, labels, np.arange(len(labels)), images[:10], labels[:10], 10)


def seconds(work: Callable[[], Any], device: str) -> float:
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def our_step(training: Training, execution: Execution) -> Callable[[], Any]:
    run = Run(training, execution, made_data(), 0, torch.device(execution.device))
    places = np.arange(BATCH)
    return lambda: run.train_batch(places, 0, 0)


def plain_step(
    training: Training, device: str, batch: int = BATCH
) -> tuple[Callable[[], Any], float]:
    """Return the plain step and its float32 forward's seconds."""
    net = network(training.model.name).to(device)
    optimizer = sgd(net)
    data = made_data()
    x = torch.from_numpy(data.images[:batch]).permute(0, 3, 1, 2).float().div(255).contiguous()
    x, y = x.to(device), torch.from_numpy(data.labels[:batch]).to(device)
    attack = training.attack
    radius, step = attack.radius / 255, attack.step / 255
    forward = forward_seconds(net, x)
    return lambda: train_step(net, optimizer, x, y, radius, step, attack.steps), forward


def compare(training: Training, execution: Execution, repeats: int) -> None:
    """Print both sides of one training's step, timed in turn."""
    device = execution.device
    with devices.deterministic(execution):
        ours = our_step(training, execution)
        first = seconds(ours, device)
        ours()
        torch.use_deterministic_algorithms(False)  # ours has to; plain code does not ask for it
        # On CUDA a first step of another shape would not warm up what the second is measured with.
        warm_up, _ = plain_step(training, device, 16 if device == "cpu" else BATCH)
        warm_up()
        theirs, forward = plain_step(training, device)
        plain, mine = [], []
        for _ in range(repeats):
            plain.append(seconds(theirs, device))
            torch.use_deterministic_algorithms(True)
            mine += [seconds(ours, device), seconds(ours, device)]
            torch.use_deterministic_algorithms(False)
    units = 3 * training.attack.steps + 3
    share = min(plain) / (units * forward)
    print(f"{training.model.name}, {training.attack.steps} attack steps, batch {BATCH}")
    print(f"  plain {min(plain):8.3f} s, {BATCH / min(plain):7.0f} images/s, best of {len(plain)}")
    print(f"  ours  {min(mine):8.3f} s, {BATCH / min(mine):7.0f} images/s, best of {len(mine)}")
    print(f"  ours, first step {first:.1f} s (compiling or reading what was compiled before)")
    void = " — ABOVE 1.2, THE RATIO IS VOID" if share > 1.2 else ""
    print(f"  plain ÷ ({units} × its float32 forward of {forward:.3f} s) = {share:.2f}{void}")
    print(f"  ratio {min(plain) / min(mine):.2f}", flush=True)


def work(training: Training, execution: Execution, steps: int, start: Any, done: Any) -> None:
    with devices.deterministic(execution):
        step = our_step(training, execution)
        step()
        step()
        start.wait()
        done.put(seconds(lambda: [step() for _ in range(steps)], execution.device))


def throughput(training: Training, execution: Execution, processes: int, steps: int) -> float:
    """Return images a second of several processes that train at the same time."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(processes), context.Queue()
    arguments = (training, execution, steps, start, done)
    members = [context.Process(target=work, args=arguments) for _ in range(processes)]
    for member in members:
        member.start()
    slowest = max(done.get() for _ in members)
    for member in members:
        member.join()
    return float(processes * steps * BATCH / slowest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["large", "small", "processes"])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--kernels", choices=["compiled", "eager"], default="compiled")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--repeats", type=int, default=1, help="of the large step")
    parser.add_argument("--steps", type=int, default=40, help="of each of several processes")
    chosen = parser.parse_args()
    asked = Execution(chosen.device, chosen.dtype, chosen.threads, chosen.kernels)
    execution = devices.resolve(asked)
    if devices.compiler_missing(execution.device) is not None:
        execution = replace(execution, kernels="eager")
    machine = environment()
    print(f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}")
    print(f"ours: {devices.describe(execution)}")
    small = [replace(SMALL, model=Model(name, 16)) for name in ("preact-small", "cnn-small")]
    if chosen.only in (None, "large"):
        compare(LARGE, execution, chosen.repeats)
    if chosen.only in (None, "small"):
        for training in small:
            compare(training, execution, 8)
    if chosen.only in (None, "processes"):
        alone = replace(execution, threads=1)
        for training in small:
            for several, threaded in ((1, execution), (2, alone), (1, alone)):
                found = throughput(training, threaded, several, chosen.steps)
                print(
                    f"{training.model.name}: {several} × {threaded.threads} threads, "
                    f"{found:.0f} images/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
