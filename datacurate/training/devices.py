"""Where a training runs and with which kernels: decided once, then part of the recipe.

Everything that differs between CPUs and CUDA is in this module.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace

import torch

from datacurate.errors import UsageError
from datacurate.files.provenance import cores
from datacurate.recipes import Execution


def resolve(execution: Execution) -> Execution:
    """Return an execution with every ``"auto"`` decided for this machine.

    bfloat16 is taken where the processor multiplies it in hardware, else float32; float16 never,
    for CPUs have no fast kernels for it.

    Raises
    ------
    UsageError
        If the device named does not exist here.
    """
    device = execution.device
    if device == "auto":
        device = default_device()
    _check_device(device)
    dtype = execution.dtype
    if dtype == "auto":
        dtype = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return replace(execution, device=device, dtype=dtype, threads=execution.threads or cores())


def default_device() -> str:
    """Return ``"cuda"`` where there is one, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(execution: Execution) -> str:
    """Return the name of the accelerator, or ``"CPU"``, with the type of its arithmetic."""
    name = "CPU"
    if execution.device.startswith("cuda"):
        name = torch.cuda.get_device_name(execution.device)
    return f"{name}, {execution.dtype}, {execution.threads} threads"


@contextlib.contextmanager
def deterministic(execution: Execution) -> Iterator[torch.device]:
    """Run a block with the recipe's threads and only kernels that repeat to the bit.

    The process's own settings are restored afterwards.
    """
    threads = torch.get_num_threads()
    was = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    # cuBLAS reads it when it starts; without it deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield torch.device(execution.device)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(was)
        torch.backends.cudnn.benchmark = benchmark


def autocast(execution: Execution) -> torch.autocast:
    """Return the context in which the network's convolutions run in the recipe's type."""
    kind = torch.device(execution.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=execution.dtype == "bfloat16")


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    kind, _, number = device.partition(":")
    count = torch.cuda.device_count()
    if kind != "cuda" or (number and not number.isdigit()) or int(number or 0) >= count:
        raise UsageError(
            f"there is no device {device!r} here",
            expected="cpu" + "".join(f", cuda:{i}" for i in range(count)),
            hint="--set execution.device=cpu",
        )


def _multiplies_bfloat16(device: str) -> bool:
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
