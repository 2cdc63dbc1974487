"""Adversarial training written plainly: float32, contiguous NCHW, `.backward()` in the attack.

It shares no code with datacurate; the benchmarks compare with it.
"""

from __future__ import annotations

import time
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Block(nn.Module):
    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(entering)
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.skip = None
        if stride != 1 or entering != leaving:
            self.skip = nn.Conv2d(entering, leaving, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(x))
        skip = x if self.skip is None else self.skip(out)
        out = self.conv1(out)
        block: Tensor = self.conv2(functional.relu(self.bn2(out))) + skip
        return block


class PreAct(nn.Module):
    def __init__(self, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        layers: list[nn.Module] = []
        entering = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(Block(entering, width * 2**stage, stride))
                entering = width * 2**stage
        self.layers = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(entering)
        self.linear = nn.Linear(entering, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(self.stem((x - cast(Tensor, self.mean)) / cast(Tensor, self.std)))
        out = functional.adaptive_avg_pool2d(functional.relu(self.bn(out)), 1).flatten(1)
        logits: Tensor = self.linear(out)
        return logits


class Small(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
        layers: list[nn.Module] = []
        entering = 3
        for leaving, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (4 * width, 2)):
            layers += [
                nn.Conv2d(entering, leaving, 3, stride, 1, bias=False),
                nn.BatchNorm2d(leaving),
                nn.ReLU(),
            ]
            entering = leaving
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(entering, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.adaptive_avg_pool2d(
            self.layers((x - cast(Tensor, self.mean)) / cast(Tensor, self.std)), 1
        )
        logits: Tensor = self.linear(out.flatten(1))
        return logits


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "preact-resnet18":
        return PreAct((2, 2, 2, 2), 64)
    return PreAct((1, 1, 1, 1), 16) if name == "preact-small" else Small(16)


def pgd(net: nn.Module, x: Tensor, y: Tensor, radius: float, step: float, steps: int) -> Tensor:
    adversarial = (x + torch.empty_like(x).uniform_(-radius, radius)).clamp(0, 1)
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        functional.cross_entropy(net(adversarial), y).backward()  # type: ignore[no-untyped-call]
        assert adversarial.grad is not None
        adversarial = adversarial.detach() + step * adversarial.grad.sign()
        adversarial = torch.min(torch.max(adversarial, x - radius), x + radius).clamp(0, 1)
    return adversarial.detach()


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    radius: float,
    step: float,
    steps: int,
) -> Tensor:
    """Make a step and return the training forward's logits."""
    net.eval()
    adversarial = pgd(net, x, y, radius, step, steps)
    net.train()
    optimizer.zero_grad()
    logits: Tensor = net(adversarial)
    functional.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return logits.detach()


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)


def forward_seconds(net: nn.Module, x: Tensor) -> float:
    """Time a float32 forward without gradients, the better of two."""
    net.eval()
    best = float("inf")
    with torch.no_grad():
        for _ in range(2):
            wait(x.device)
            started = time.perf_counter()
            net(x)
            wait(x.device)
            best = min(best, time.perf_counter() - started)
    return best


def wait(device: str | torch.device) -> None:
    """Wait for everything that a device was asked to do; a CPU does it at once."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
