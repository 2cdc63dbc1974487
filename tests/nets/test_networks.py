"""Networks: sizes from the literature, any input, seeded weights, normalisation inside."""

from __future__ import annotations

import pytest
import torch

from datacurate.errors import UnknownNameError
from datacurate.nets import NETWORKS, build
from datacurate.recipes import Model

GREY = ((0.5,), (0.25,))
COLOUR = ((0.5, 0.4, 0.3), (0.25, 0.2, 0.1))


def test_preact_resnet18_has_the_parameters_of_the_literature() -> None:
    net = build(Model("preact-resnet18"), 10, 3, *COLOUR, seed=0)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 11.17


@pytest.mark.parametrize("name", NETWORKS)
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


def test_unknown_network() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'preact-resnet18'"):
        build(Model("preact-resnet-18"), 10, 3, *COLOUR, seed=0)
