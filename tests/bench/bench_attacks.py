"""Our attack searches beside those of `pyautoattack`, on the same images in one process.

``python -m tests.bench.bench_attacks CHECKPOINT --data DIR [--part time|agreement|fast]`` prints
both sides' seconds, their ratio, and in how many verdicts they differ, beside two seeds of the
package. The package is driven by its own `AutoAttack`, as it comes, with one restart of each
attack. For the ResNet-18 that it ships, CHECKPOINT is ``pyautoattack``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyautoattack
import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from datacurate.attacks.settings import AttackSettings
from datacurate.data import load
from datacurate.evaluation import Evaluation, choose_examples, evaluate
from datacurate.training.checkpoints import load_network


class Quantised(nn.Module):
    """A network behind a staircase of pixels: its gradients are zero almost everywhere."""

    def __init__(self, net: nn.Module, levels: int) -> None:
        super().__init__()
        self.net = net
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(torch.round(x * self.levels) / self.levels)
        return logits


def shipped() -> nn.Module:
    """Return the ResNet-18 of the package."""
    examples = Path(pyautoattack.__file__).parent / "examples"
    sys.path.insert(0, str(examples))
    from resnet import ResNet18  # type: ignore[import-not-found]

    net: nn.Module = ResNet18().eval()
    weights = torch.load(examples / "model_test.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(weights)
    return net


def package(
    net: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    radius: float,
    suite: str,
    seed: int,
    batch_size: int,
) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return seconds and which examples the package leaves."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).contiguous()
    y = torch.from_numpy(labels)
    chosen = ["apgd-ce", "apgd-t"] if suite == "custom" else None
    device = str(next(net.parameters()).device)
    attack = AutoAttack(
        net, attacks=chosen, eps=radius / 255, seed=seed, version=suite, device=device
    )
    attack.apgd.n_restarts = 1  # as in its standard version; its custom one leaves five
    began = time.perf_counter()
    _, predicted = attack.run_standard_evaluation(x, y, batch_size=batch_size)
    return time.perf_counter() - began, (predicted.cpu() == y).numpy()


def ours(
    net: nn.Module,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    radius: float,
    suite: str,
) -> tuple[float, Evaluation]:
    """Return seconds and the evaluation."""
    began = time.perf_counter()
    found = evaluate(net, images, labels, AttackSettings(radius_255=radius, suite=suite))
    return time.perf_counter() - began, found


def show(name: str, seconds: float, robust: np.ndarray) -> None:
    print(f"  {name:<28} {seconds:8.1f} s  {robust.sum():5d} of {len(robust)} survive", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("time", "agreement", "fast"), default="time")
    parser.add_argument("--suite", choices=("standard", "custom"), default="standard")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--radius", type=float, default=8.0, help="in 1/255")
    parser.add_argument("--levels", type=int, default=0, help="quantise the input to so many")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=250, help="of the package")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    is_shipped = given.checkpoint == "pyautoattack"
    net = shipped() if is_shipped else load_network(Path(given.checkpoint)).net
    net = Quantised(net, given.levels).eval() if given.levels else net
    net.to(given.device)
    test = load("cifar10", given.data).test
    assert test.identity.content_hash is not None
    rows = choose_examples(test.identity.content_hash, given.n)
    images, labels = test.images[rows], test.labels[rows]
    where = f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    if given.device != "cpu":
        where = torch.cuda.get_device_name(given.device)
    print(f"n {given.n}, radius {given.radius:g}/255, {where}, torch {torch.__version__}")
    if given.device != "cpu":
        # Starting CUDA takes seconds, which whoever comes first would pay.
        ours(net, images[:8], labels[:8], given.radius, "pgd-10")
    suite = "fast" if given.part == "fast" else given.suite
    mine, found = ours(net, images, labels, given.radius, suite)
    show(f"datacurate {suite}", mine, found.outcome.robust)
    outcome = found.outcome
    for attack, seconds, spent in zip(
        outcome.attacks, outcome.seconds, outcome.spent_on_survivors(), strict=True
    ):
        print(f"    {attack:<12} {seconds:7.1f} s, spent on survivors (least, most): {spent}")
    if given.part == "fast":
        other, whole = ours(net, images, labels, given.radius, given.suite)
        show(f"datacurate {given.suite}", other, whole.outcome.robust)
        difference = found.outcome.robust.astype(float) - whole.outcome.robust
        error = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
        print(f"  fast − {given.suite} {100 * difference.mean():.2f} ± {100 * error:.2f} points")
    else:
        other, theirs = package(net, images, labels, given.radius, suite, 0, given.batch)
        show("pyautoattack, seed 0", other, theirs)
        print(f"  verdicts that differ: {np.count_nonzero(theirs != found.outcome.robust)}")
        print(f"  broken by ours alone: {np.count_nonzero(theirs & ~found.outcome.robust)}")
        if given.part == "agreement":
            seconds, again = package(net, images, labels, given.radius, suite, 1, given.batch)
            show("pyautoattack, seed 1", seconds, again)
            print(f"  its two seeds differ in {np.count_nonzero(theirs != again)}")
    print(f"ratio {other / mine:.2f}")


if __name__ == "__main__":
    main()
