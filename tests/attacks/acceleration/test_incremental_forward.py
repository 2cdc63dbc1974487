from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from datacurate.attacks.acceleration.batchnorm_folding import fold_batchnorm
from datacurate.attacks.acceleration.incremental_forward import incremental_forward
from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.autoattack import AutoAttack, autoattack
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.square import square
from datacurate.attacks.table import ATTACKS
from datacurate.attacks.window_forward import FullForward, WindowForward
from datacurate.nets import build
from datacurate.recipes import Model
from tests.attacks.models import linear
from tests.attacks.networks import Broadcast, right_everywhere


def folded(net: nn.Module, size: int, channels: int = 3, seed: int = 0) -> fx.GraphModule:
    """Return the folded copy of a network whose normalisations are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.3, generator=generator)
    sample = torch.rand(2, channels, size, size, generator=generator)
    copied = fold_batchnorm(net.eval(), sample, torch.float32)
    assert copied is not None
    return copied


def of_family(name: str, size: int) -> fx.GraphModule:
    return folded(build(Model(name, 4), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0), size)


def same(got: Tensor, expected: Tensor) -> bool:
    # Kernels of other shapes add in another order: a few roundings of float32, layer by layer.
    return float((got - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def corners_and_others(size: int, generator: torch.Generator) -> list[tuple[int, int, int]]:
    """Return sides and positions of windows: every corner, an edge, anywhere."""
    windows = []
    for side in sorted({1, 2, 3, 5, size // 2, size - 1, size}):
        last = size - side
        top, left = torch.randint(last + 1, (2,), generator=generator).tolist()
        places = {(0, 0), (0, last), (last, 0), (last, last), (0, left), (top, left)}
        windows += [(side, *place) for place in sorted(places)]
    return windows


def check_against_whole_passes(copied: fx.GraphModule, size: int, channels: int = 3) -> None:
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(6, channels, size, size, generator=generator)
    trials = incremental_forward(copied, images)
    assert trials is not None
    whole = FullForward(copied)
    assert torch.equal(trials.start(images), whole.start(images))
    windows = corners_and_others(size, generator)
    changed = False
    for number, side in enumerate(sorted({side for side, _, _ in windows}) * 3):
        count = len(whole.images)
        places = torch.tensor([place[1:] for place in windows if place[0] == side])
        # Every place in one attempt, images several times and in any order.
        rows = torch.randint(count, (len(places),), generator=generator)
        window = torch.rand(len(rows), side, side, channels, generator=generator)
        top, left = places.T
        got = trials.attempt(rows, top, left, window)
        before = copied(whole.images[rows].permute(0, 3, 1, 2))
        expected = whole.attempt(rows, top, left, window)
        assert same(got, expected), side
        changed |= not same(got, before)
        which = torch.tensor([rows.tolist().index(row) for row in set(rows.tolist())])
        trials.accept(which)
        whole.accept(which)
        if number % 13 == 0 and count > 2:
            kept = torch.arange(count) != number % count
            trials.keep(kept.nonzero()[:, 0])
            whole.keep(kept.nonzero()[:, 0])
    assert len(whole.images) < 6
    assert changed, "the windows must matter"


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("name", ["preact-small", "cnn-small", "vgg11-bn", "wrn-10-1"])
def test_windows_give_the_logits_of_whole_passes(name: str, size: int) -> None:
    check_against_whole_passes(of_family(name, size), size)


class Odd(nn.Module):
    """Kernels, strides, paddings and maps of sizes that our families do not have."""

    def __init__(self, flat: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, (5, 3), stride=(2, 1), padding=(0, 2))
        self.apart = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.last = nn.Conv2d(4, 4, 1, stride=3)
        self.flat = flat
        self.head = nn.Linear(4 * 1 * 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.first(x))
        out = self.apart(out) + out
        out = self.last(torch.relu(self.pool(out)) + self.pool(out))
        logits: Tensor = self.head(self.flat(out))
        return logits


class Flat(nn.Module):
    """A flattening of which no window is known."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_windows_of_other_kernels() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Odd(nn.Flatten())
    check_against_whole_passes(folded(net, 15, channels=1), 15, channels=1)


def test_networks_whose_windows_are_not_understood() -> None:
    images = torch.rand(2, 1, 15, 15)
    assert incremental_forward(None, images) is None
    assert incremental_forward(folded(Odd(Flat()), 15, channels=1), images) is None
    assert incremental_forward(folded(Broadcast(15), 15, channels=1), images) is None
    no_channels = fold_batchnorm(linear(3, 225), images, torch.float32)
    assert incremental_forward(no_channels, images) is None
    copied = of_family("cnn-small", 8)
    assert incremental_forward(copied, torch.rand(2, 3, 8, 8)) is not None
    assert incremental_forward(copied, torch.rand(1, 3, 8, 8).expand(10_000_000, 3, 8, 8)) is None
    assert incremental_forward(copied.to(torch.bfloat16), torch.rand(2, 3, 8, 8)) is None


def test_square_decides_as_with_whole_passes() -> None:
    copied = of_family("preact-small", 8)
    x = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Random weights prefer one class for all images; without that, labels differ.
        cast(Any, copied.get_submodule("head_head_fused")).layer.bias.sub_(copied(x).mean(dim=0))
        y = copied(x).argmax(dim=1)
        assert len(y.unique()) > 4
        attacked = AttackedModel(copied, copied, copied)
        batches = [AttackBatch(attacked, x, y, 0.02) for _ in range(2)]
        trials = incremental_forward(copied, x)
        assert trials is not None
        # Leads that are equal to rounding could be ordered otherwise; with these seeds none is.
        ways: tuple[WindowForward, WindowForward] = (trials, FullForward(copied))
        for batch, way in zip(batches, ways, strict=True):
            square(
                batch,
                AttackArguments(steps=150, keys=np.arange(16, dtype=np.uint64), seeds=(3,)),
                way,
            )
    windows, whole = batches
    assert 2 <= whole.broken.sum() <= 14
    assert torch.equal(windows.broken, whole.broken)
    assert torch.equal(windows.candidates, whole.candidates)
    assert np.array_equal(windows.steps, whole.steps)
    assert np.array_equal(windows.forwards, whole.forwards)


def test_the_suite_decides_as_with_whole_passes() -> None:
    net, x, y = right_everywhere(16)
    settings = AttackSettings(
        radius_255=5.1, suite="square", batch_size=7, dtype="float32", steps={"square": 60}
    )
    by_windows = autoattack(net, x, y, settings)
    calls: list[int] = []

    def with_whole_passes(batch: AttackBatch, arguments: AttackArguments) -> None:
        assert incremental_forward(batch.model.folded, batch.x) is not None
        calls.append(len(batch.x))
        square(batch, arguments, FullForward(batch.model.float32_logits))

    attacks = ATTACKS | {"square": replace(ATTACKS["square"], run=with_whole_passes)}
    whole = AutoAttack(net, x, y, settings, attacks=attacks).run()
    assert len(calls) == 3
    assert 1 <= whole.robust.sum() <= 15
    assert np.array_equal(by_windows.broken_by, whole.broken_by)
    assert by_windows.spent is not None
    assert whole.spent is not None
    assert np.array_equal(by_windows.spent, whole.spent)
