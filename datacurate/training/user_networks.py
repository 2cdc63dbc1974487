"""The user's own networks: a callable by its import path, and a state dict."""

from __future__ import annotations

import importlib
from pathlib import Path

from torch import Tensor, nn

from datacurate.errors import CheckpointError, UsageError
from datacurate.training.checkpoints import load_tensors

_NESTED = ("state_dict", "model_state_dict", "model")


def load_user_network(checkpoint: Path, network: str) -> nn.Module:
    """Return the network of a user's callable, with the weights of a checkpoint.

    The callable is executed. The checkpoint is read as tensors and plain values only.

    Parameters
    ----------
    checkpoint : Path
        A state dict saved by ``torch.save``, alone or under ``state_dict``, ``model_state_dict`` or
        ``model``; the prefix of ``DataParallel`` is removed from the names.
    network : str
        ``module:callable``. Called without arguments, it returns a module that takes pixels in
        [0, 1], float32 of shape (N, C, H, W), and returns logits. It normalises by itself.

    Returns
    -------
    Module
        In eval mode on the CPU.

    Raises
    ------
    UsageError
        If there is no such callable, or if it returns no module.
    CheckpointError
        If the file holds no state dict, or if it does not fit.
    """
    module, separator, name = network.partition(":")
    if not (module and separator and name):
        raise UsageError(
            f"--network {network} is not an import path", expected="module:callable", got=network
        )
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--network {network} cannot be imported",
            got=str(error),
            hint="run where its module can be imported, or set PYTHONPATH",
        ) from error
    net = make() if callable(make) else None
    if not isinstance(net, nn.Module):
        raise UsageError(
            f"--network {network} returns no network",
            expected="a callable without arguments that returns a torch.nn.Module",
            got=type(make if net is None else net).__name__,
        )
    try:
        net.load_state_dict(_weights(checkpoint))
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {checkpoint} do not fit {network}",
            got=" ".join(str(error).split())[:300],
        ) from error
    return net.eval()


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    saved = load_tensors(checkpoint)
    for key in _NESTED:
        if isinstance(saved.get(key), dict):
            saved = saved[key]
            break
    if not saved or not all(isinstance(value, Tensor) for value in saved.values()):
        raise CheckpointError(
            f"{checkpoint} holds no state dict",
            expected="tensors by name, alone or under " + ", ".join(_NESTED),
            got=f"keys {', '.join(sorted(map(str, saved))[:6])}",
        )
    return {str(name).removeprefix("module."): value for name, value in saved.items()}
