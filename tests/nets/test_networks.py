"""Networks: sizes from the literature, any input, seeded weights, normalisation inside."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import cast

import pytest
import torch

from datacurate.errors import RecipeError, UnknownNameError
from datacurate.nets import NETWORKS, build, network
from datacurate.nets.normalization import Normalize
from datacurate.nets.preact import PreActBlock
from datacurate.nets.vgg import VGG11, VGG16
from datacurate.recipes import Model

GREY = ((0.5,), (0.25,))
COLOUR = ((0.5, 0.4, 0.3), (0.25, 0.2, 0.1))


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("preact-resnet18", 10, 11.17),
        ("wrn-28-10", 10, 36.48),  # Zagoruyko and Komodakis, table 5: 36.5 M
        ("wrn-34-10", 10, 46.16),  # 46.2 M
        ("wrn-40-4", 10, 8.95),  # their table 4: 8.9 M
        ("wrn-28-10", 100, 36.54),
    ],
)
def test_parameter_counts_of_the_literature(name: str, classes: int, millions: float) -> None:
    with torch.device("meta"):
        net = network(name)[1](network(name)[0], classes, Normalize(*COLOUR), 3)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "widths"), [("vgg11-bn", VGG11), ("vgg16-bn", VGG16)])
def test_vgg_has_the_convolutions_of_its_configuration(name: str, widths: tuple[int, ...]) -> None:
    # Table 1 of the paper, columns A and D, counted by hand: 3×3 weights, two numbers of each
    # batch normalisation, and one linear classifier.
    channels = [c for c, n in zip((64, 128, 256, 512, 512), widths, strict=True) for _ in range(n)]
    assert len(channels) == int(name[3:5]) - 3  # the paper's layers less its three linear ones
    pairs = zip([3, *channels[:-1]], channels, strict=True)
    expected = sum(9 * a * b + 2 * b for a, b in pairs) + 512 * 10 + 10
    with torch.device("meta"):
        net = network(name)[1](64, 10, Normalize(*COLOUR), 3)
    assert sum(p.numel() for p in net.parameters()) == expected


def test_a_patch_stem_halves_the_size_of_every_stage() -> None:
    small, patch = (
        build(Model(n, 8), 10, 3, *COLOUR, seed=0) for n in ("preact-small", "preact-patch")
    )
    # The two differ in the stem alone: 3×3 and 4×4 weights of 8 channels over 3.
    counts = [sum(p.numel() for p in net.parameters()) for net in (small, patch)]
    assert counts[1] - counts[0] == (16 - 9) * 8 * 3
    sizes = []
    for net in (small, patch):
        for block in net.stages:  # type: ignore[union-attr]
            block.register_forward_hook(lambda *seen: sizes.append(seen[2].shape[2:]))
        net(torch.rand(1, 3, 32, 32))
    assert sizes == [(32, 32), (16, 16), (8, 8), (4, 4), (16, 16), (8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize("name", [*NETWORKS, "wrn-10-1"])
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (64, 3)])
def test_any_input_and_class_count(name: str, size: int, channels: int) -> None:
    mean, std = GREY if channels == 1 else COLOUR
    net = build(Model(name, width=4), 7, channels, mean, std, seed=0)
    assert net(torch.rand(2, channels, size, size)).shape == (2, 7)


def test_the_seed_decides_the_weights_and_nothing_else_changes() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a = build(Model("preact-small"), 10, 3, *COLOUR, seed=1).state_dict()
    b = build(Model("preact-small"), 10, 3, *COLOUR, seed=1).state_dict()
    c = build(Model("preact-small"), 10, 3, *COLOUR, seed=2).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["stem.weight"], c["stem.weight"])


def test_normalisation_is_part_of_the_network() -> None:
    plain = build(Model("preact-small"), 10, 3, (0.0,) * 3, (1.0,) * 3, seed=1).eval()
    inside = build(Model("preact-small"), 10, 3, *COLOUR, seed=1).eval()
    x = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in COLOUR)
    torch.testing.assert_close(inside(x), plain((x - mean) / std))


def test_the_shortcut_is_the_strided_convolution() -> None:
    block = PreActBlock(5, 7, 2)
    assert block.shortcut is not None
    entered = []
    block.shortcut.register_forward_hook(lambda module, given, out: entered.append(out))
    x = torch.rand(3, 5, 9, 9)
    block(x)
    activated = torch.relu(block.norm1(x))
    strided = torch.nn.functional.conv2d(
        activated, cast(torch.Tensor, block.shortcut.weight), stride=2
    )
    torch.testing.assert_close(entered[0], strided)


def test_narrow_networks_survive_odd_batches_and_several_threads() -> None:
    # In a process of its own: what it guards against is an abort.
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from datacurate.nets import build; from datacurate.recipes import Model\n"
        "for width in (1, 4, 8):\n"
        "    net = build(Model('preact-small', width), 10, 3, (0.5,) * 3, (0.2,) * 3, 0)\n"
        "    for size in (17, 39):\n"
        "        x = torch.rand(size, 8, 8, 3).permute(0, 3, 1, 2)\n"
        "        for _ in range(3): net(x).square().sum().backward()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
    )
    assert done.returncode == 0, done.stderr


def test_unknown_network() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'preact-resnet18'"):
        build(Model("preact-resnet-18"), 10, 3, *COLOUR, seed=0)
    with pytest.raises(UnknownNameError, match="did you mean 'wrn-28-10'"):
        build(Model("wrn28-10"), 10, 3, *COLOUR, seed=0)


@pytest.mark.parametrize("name", ["wrn-27-10", "wrn-4-10", "wrn-28-0"])
def test_a_wide_resnet_of_impossible_depth(name: str) -> None:
    with pytest.raises(RecipeError, match="there is no wide ResNet"):
        build(Model(name), 10, 3, *COLOUR, seed=0)
