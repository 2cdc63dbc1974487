"""Where a training runs and with which kernels: decided once, then part of the recipe.

What a training asks of a CPU or of CUDA is all in this module.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils import deterministic as memory

from datacurate.attacks.acceleration.cuda_graphs import Replayed
from datacurate.errors import TrainingError, UsageError
from datacurate.machine import cores, processor
from datacurate.recipes import Execution

_GRAPHS = 64  # of one network class in one process, all shapes and modes together


def resolve(execution: Execution, at_once: int = 1) -> Execution:
    """Return an execution with every ``"auto"`` decided for this machine.

    bfloat16 is taken where the device multiplies it in hardware and faster than float32; float16
    never, for CPUs have no fast kernels for it. Threads left open are all cores, shared by as many
    trainings as run `at_once`. Kernels left open are eager: for what trainings are long enough to
    compile, see `datacurate.training.kernels.decide`.

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
        dtype = "bfloat16" if _faster_in_bfloat16(device) else "float32"
    threads = execution.threads or max(1, cores() // at_once)
    kernels = "eager" if execution.kernels == "auto" else execution.kernels
    return replace(execution, device=device, dtype=dtype, threads=threads, kernels=kernels)


def of_member(execution: Execution, run: int) -> Execution:
    """Return the execution of one run of several: on CUDA without a number, a GPU in turn.

    It depends on the run alone, not on which runs go on beside it.
    """
    if execution.device != "cuda" or torch.cuda.device_count() < 2:
        return execution
    return replace(execution, device=f"cuda:{run % torch.cuda.device_count()}")


def crowding(execution: Execution, at_once: int) -> float:
    """Return how many times more so many trainings ask for than there is; 1 if there is enough."""
    if execution.device.startswith("cuda"):
        there = torch.cuda.device_count() if execution.device == "cuda" else 1
        return max(1.0, at_once / there)
    return max(1.0, at_once * execution.threads / cores())


def default_device() -> str:
    """Return ``"cuda"`` where there is one, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(execution: Execution) -> str:
    """Return the name of the accelerator, or ``"CPU"``, with the type of its arithmetic."""
    name = "CPU"
    if execution.device.startswith("cuda"):
        name = torch.cuda.get_device_name(execution.device)
    return f"{name}, {execution.dtype}, {execution.kernels}, {execution.threads} threads"


@contextlib.contextmanager
def deterministic(execution: Execution) -> Iterator[torch.device]:
    """Run a block with the recipe's threads and only kernels that repeat to the bit.

    The process's own settings are restored afterwards.
    """
    threads = torch.get_num_threads()
    was = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    filled = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    # cuBLAS reads it when it starts; without it deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    # It would write every result twice, for programs that read what nobody has written.
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    try:
        with _every_graph_compiled(execution):
            yield torch.device(execution.device)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(was)
        memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def memory_said(execution: Execution, batch_size: int) -> Iterator[None]:
    """Say of a block that runs out of memory which batch size to try.

    Raises
    ------
    TrainingError
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has an error of its own for accelerators; on the CPU only the message tells.
        if isinstance(error, RuntimeError) and not (
            isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        ):
            raise
        raise TrainingError(
            f"{execution.device} ran out of memory at batch size {batch_size}",
            hint=f"--set batch_size={max(2, batch_size // 2)}",
        ) from error


def autocast(execution: Execution) -> torch.autocast:
    """Return the context in which the network's convolutions run in the recipe's type."""
    kind = torch.device(execution.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=execution.dtype == "bfloat16")


def compiled(net: nn.Module, execution: Execution) -> nn.Module:
    """Return a module that shares a network's weights and modes and computes in compiled graphs.

    There is a graph for each shape of input and each of: training, attack (eval mode, frozen
    parameters), no gradient at all. Networks of one kind share them, whatever their weights. Full
    graphs only: what cannot be compiled raises one of `compile_errors`.
    """
    # The generated code is for one number of threads, which decides the order of its sums.
    options = {"cpp.threads": execution.threads}
    return cast(
        nn.Module,
        torch.compile(net, dynamic=False, fullgraph=True, options=options),  # type: ignore[arg-type]
    )


class Replaying(nn.Module):
    """A network whose passes under attack are recorded and replayed, for CUDA.

    It shares the network's weights and modes, and gives the same results. Recorded is what attacks
    repeat: a pass over a full batch in eval mode, with a gradient to the images alone.

    Parameters
    ----------
    net : Module
    execution : Execution
    batch_size : int
        Of a full batch.
    """

    def __init__(self, net: nn.Module, execution: Execution, batch_size: int) -> None:
        super().__init__()
        self.net = net

        def attacked(x: Tensor) -> Tensor:
            with autocast(execution):
                logits: Tensor = net(x)
            return logits

        self._attacked = Replayed(attacked, sizes=(batch_size,))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of a full batch of images."""
        if x.requires_grad and torch.is_grad_enabled() and not self.net.training:
            return self._attacked(x)
        logits: Tensor = self.net(x)
        return logits


def in_graphs(net: nn.Module, execution: Execution, batch_size: int) -> nn.Module:
    """Return what full batches go through: it shares a network's weights and modes.

    Compiled graphs where they are asked for, on CUDA recordings of the network's own kernels, else
    the network itself.
    """
    if execution.kernels == "compiled":
        return compiled(net, execution)
    if execution.device.startswith("cuda"):
        return Replaying(net, execution, batch_size)
    return net


def compile_errors() -> tuple[type[Exception], ...]:
    """Return what is raised where a graph cannot be made."""
    if "torch._dynamo" not in sys.modules:  # it takes seconds to import, and nothing was compiled
        return ()
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    return (TorchDynamoException, FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler)


def compiled_files() -> str:
    """Return the folder of what was compiled, where a killed compiler may leave half a file."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return cache_dir()


def compiler_missing(device: str) -> str | None:
    """Return why nothing can be compiled for a device, or None if there is a compiler."""
    if device.startswith("cuda"):
        from torch.utils._triton import has_triton

        return None if has_triton() else "there is no Triton here"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no working C++ compiler here"
    return None


@contextlib.contextmanager
def _every_graph_compiled(execution: Execution) -> Iterator[None]:
    """Keep a graph too many from being run without being compiled, which would change the bits."""
    if execution.kernels != "compiled":
        yield
        return
    import torch._dynamo.config as config

    with config.patch(recompile_limit=_GRAPHS, fail_on_recompile_limit_hit=True):
        yield


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


def _faster_in_bfloat16(device: str) -> bool:
    """Return whether convolutions take less time in bfloat16 than in float32.

    Where the instructions are there, they mostly do. Intel's CPUs with AVX-512 bf16 take nearly
    twice as long with it where AMX is missing or hidden by a virtual machine. Nothing is timed: the
    answer must be the same every time.
    """
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    return bool(capabilities.get("amx_bf16")) or "Intel" not in processor()
