"""Checkpoints: networks that can be evaluated anywhere, and states that trainings resume from.

Both are read with ``weights_only=True``: tensors and plain values, no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datacurate.errors import CheckpointError
from datacurate.identity import Identity
from datacurate.nets import build
from datacurate.outputs import atomic_path
from datacurate.recipes import Model

_FORMAT = "datacurate.checkpoint"
_VERSION = 1


def save_tensors(path: Path, value: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically."""
    with atomic_path(path) as temporary:
        torch.save(dict(value), temporary)


def load_tensors(path: Path, mapped: bool = False) -> dict[str, Any]:
    """Read what `save_tensors` wrote. Nothing in the file is executed.

    Parameters
    ----------
    path : Path
    mapped : bool
        Leave the tensors in the file until they are used, for callers that need other values.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, or holds anything but tensors and plain values.
    """
    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of tensors and plain values",
            got=(str(error) or type(error).__name__).splitlines()[0][:200],
            hint="give a file written by datacurate, or by torch.save of a state dict",
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} does not hold a dictionary", expected="dict", got=type(value).__name__
        )
    return value


def save_network(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    model: Model,
    class_names: tuple[str, ...],
    shape: tuple[int, int, int],
    about: Mapping[str, Any],
) -> None:
    """Write a network with everything that is needed to build and use it.

    Parameters
    ----------
    path : Path
    weights : mapping of str to Tensor
        The state dict, with the normalisation.
    model : Model
    class_names : tuple of str
    shape : tuple of int
        Height, width, channels of its images.
    about : mapping
        How it was trained, in plain values.
    """
    save_tensors(
        path,
        {
            "format": _FORMAT,
            "version": _VERSION,
            "model": {"name": model.name, "width": model.width},
            "class_names": list(class_names),
            "shape": list(shape),
            "weights": dict(weights),
            "about": dict(about),
        },
    )


class LoadedNetwork:
    """A network read from a checkpoint, in eval mode on the CPU.

    Attributes
    ----------
    net : Module
    class_names : tuple of str
    shape : tuple of int
        Height, width, channels.
    about : dict
        How it was trained.
    """

    def __init__(
        self,
        net: nn.Module,
        class_names: tuple[str, ...],
        shape: tuple[int, int, int],
        about: dict[str, Any],
    ) -> None:
        self.net = net
        self.class_names = class_names
        self.shape = shape
        self.about = about


def rebuild_network(
    weights: Mapping[str, torch.Tensor], model: Model, classes: int, channels: int
) -> nn.Module:
    """Return the network that a state dict belongs to, in eval mode on the CPU.

    The weights contain the normalisation.
    """
    net = build(model, classes, channels, (0.0,) * channels, (1.0,) * channels, seed=0)
    net.load_state_dict(weights)
    return net.eval()


def load_network(path: Path) -> LoadedNetwork:
    """Build the network that `save_network` wrote.

    Raises
    ------
    CheckpointError
        If the file is not such a checkpoint, or if its weights do not fit its network.
    """
    saved = load_tensors(path)
    if saved.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is not a datacurate checkpoint",
            expected=f"format {_FORMAT!r}",
            got=f"keys {', '.join(sorted(map(str, saved))[:6])}",
        )
    if saved.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} was written by another version of datacurate",
            expected=f"checkpoint version {_VERSION}",
            got=str(saved.get("version")),
        )
    try:
        height, width, channels = saved["shape"]
        net = rebuild_network(
            saved["weights"], Model(**saved["model"]), len(saved["class_names"]), channels
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit its network", got=str(error).splitlines()[0][:200]
        ) from error
    return LoadedNetwork(
        net, tuple(saved["class_names"]), (height, width, channels), dict(saved["about"])
    )


def require_for(network: LoadedNetwork, path: Path, identity: Identity) -> None:
    """Raise unless a network fits the images and classes of a data set.

    Raises
    ------
    CheckpointError
    """
    expected = (network.shape, len(network.class_names))
    if expected != (identity.shape, identity.classes):
        raise CheckpointError(
            f"the network in {path} is not for this data",
            expected=f"images of shape {network.shape}, {len(network.class_names)} classes",
            got=f"images of shape {identity.shape}, {identity.classes} classes",
        )
