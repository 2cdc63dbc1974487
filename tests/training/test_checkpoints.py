"""Checkpoints: what is saved is what is built, and a hostile file runs nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from datacurate.errors import CheckpointError
from datacurate.nets import build
from datacurate.recipes import Model
from datacurate.training.checkpoints import load_network, load_tensors, save_network

MODEL = Model("preact-small", 4)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    net = build(MODEL, 3, 1, (0.3,), (0.2,), seed=8).eval()
    path = tmp_path / "net.pt"
    save_network(path, net.state_dict(), MODEL, ("a", "b", "c"), (8, 8, 1), {"seed": 8})
    return path, net


def test_a_network_comes_back(saved: tuple[Path, torch.nn.Module]) -> None:
    path, net = saved
    found = load_network(path)
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(found.net(x), net(x))
    assert (found.class_names, found.shape, found.about) == (
        ("a", "b", "c"),
        (8, 8, 1),
        {"seed": 8},
    )
    assert not found.net.training


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path) -> None:
    target = tmp_path / "made-by-the-pickle"
    for write in (lambda p, v: torch.save(v, p), lambda p, v: p.write_bytes(pickle.dumps(v))):
        path = tmp_path / "bad.pt"
        write(path, {"format": Hostile(target)})
        with pytest.raises(CheckpointError, match="not a checkpoint of tensors"):
            load_network(path)
        assert not target.exists()


def test_damaged_and_foreign_files(saved: tuple[Path, torch.nn.Module], tmp_path: Path) -> None:
    path, net = saved
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            load_network(path)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_tensors(tmp_path / "none.pt")
    torch.save(net.state_dict(), path)
    with pytest.raises(CheckpointError, match="not a datacurate checkpoint"):
        load_network(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="does not hold a dictionary"):
        load_network(path)


def test_weights_that_do_not_fit(saved: tuple[Path, torch.nn.Module]) -> None:
    path, net = saved
    save_network(path, net.state_dict(), Model("preact-small", 8), ("a", "b", "c"), (8, 8, 1), {})
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(path)
