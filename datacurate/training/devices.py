"""Devices: where a training runs, with which data type, threads and kernels.

All code that depends on CPU or CUDA in training is in this module.
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

from datacurate.attacks.acceleration.cuda_graphs import RecordedFunction
from datacurate.errors import TrainingError, UsageError
from datacurate.machine import cores, processor
from datacurate.recipes import Execution

_GRAPHS = 64  # of one network class in one process, all shapes and modes together


def resolve(execution: Execution, concurrency: int = 1) -> Execution:
    """Return an execution with every ``"auto"`` decided for this machine.

    bfloat16 is chosen where the device multiplies it in hardware, and faster than float32. float16
    is never chosen, because CPUs have no fast kernels for it. Open threads are all cores, divided
    among `concurrency` trainings. Open kernels are eager; see
    `datacurate.training.kernels.choose_kernels` for trainings that are long enough to compile.

    Raises
    ------
    UsageError
        If the requested device does not exist here.
    """
    device = execution.device
    if device == "auto":
        device = default_device()
    _check_device(device)
    dtype = execution.dtype
    if dtype == "auto":
        dtype = "bfloat16" if _faster_in_bfloat16(device) else "float32"
    threads = execution.threads or max(1, cores() // concurrency)
    kernels = "eager" if execution.kernels == "auto" else execution.kernels
    return replace(execution, device=device, dtype=dtype, threads=threads, kernels=kernels)


def device_of_unit(execution: Execution, run: int) -> Execution:
    """Return the execution of one unit. With several GPUs and no GPU named, they take turns.

    The result depends on the unit's number alone, not on which other units run.
    """
    if execution.device != "cuda" or torch.cuda.device_count() < 2:
        return execution
    return replace(execution, device=f"cuda:{run % torch.cuda.device_count()}")


def oversubscription(execution: Execution, concurrency: int) -> float:
    """Return by what factor the trainings ask for more cores or GPUs than there are, at least 1."""
    if execution.device.startswith("cuda"):
        gpus = torch.cuda.device_count() if execution.device == "cuda" else 1
        return max(1.0, concurrency / gpus)
    return max(1.0, concurrency * execution.threads / cores())


def default_device() -> str:
    """Return ``"cuda"`` where there is one, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(execution: Execution) -> str:
    """Return the name of the device with data type, kernels and threads."""
    name = "CPU"
    if execution.device.startswith("cuda"):
        name = torch.cuda.get_device_name(execution.device)
    return f"{name}, {execution.dtype}, {execution.kernels}, {execution.threads} threads"


@contextlib.contextmanager
def deterministic(execution: Execution) -> Iterator[torch.device]:
    """Run a block with the recipe's threads and deterministic kernels only.

    The settings of the process are restored afterwards.
    """
    threads = torch.get_num_threads()
    was = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    filled = memory.fill_uninitialized_memory  # type: ignore[attr-defined]
    # cuBLAS reads this when it starts. Without it, deterministic mode refuses matrix products.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(execution.threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory only helps programs that read uninitialised memory, and costs time.
    memory.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    try:
        with _refuse_uncompiled_graphs(execution):
            yield torch.device(execution.device)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(was)
        memory.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.backends.cudnn.benchmark = benchmark


@contextlib.contextmanager
def explain_out_of_memory(execution: Execution, batch_size: int) -> Iterator[None]:
    """Turn an out-of-memory error of a block into one that suggests a batch size.

    Raises
    ------
    TrainingError
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has an error class for accelerators. On a CPU only the message tells.
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
    """Return a compiled module that shares a network's weights and modes.

    There is one graph for each input shape and each of training, attack (eval mode, frozen
    parameters) and inference. Networks of one class share the graphs. Only full graphs are
    compiled: a graph that cannot be compiled raises one of `compile_errors`.
    """
    # The number of threads decides the order of sums, so the code is compiled for it.
    options = {"cpp.threads": execution.threads}
    return cast(
        nn.Module,
        torch.compile(net, dynamic=False, fullgraph=True, options=options),  # type: ignore[arg-type]
    )


class RecordedPasses(nn.Module):
    """A network whose attack passes are recorded as CUDA graphs and replayed.

    It shares the network's weights and modes, and gives the same results. Only the pass that
    attacks repeat is recorded: a full batch in eval mode, with gradients to the images alone.

    Parameters
    ----------
    net : Module
    execution : Execution
    batch_size : int
        Size of a full batch.
    """

    def __init__(self, net: nn.Module, execution: Execution, batch_size: int) -> None:
        super().__init__()
        self.net = net

        def attacked(x: Tensor) -> Tensor:
            with autocast(execution):
                logits: Tensor = net(x)
            return logits

        self._attacked = RecordedFunction(attacked, sizes=(batch_size,))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a full batch of images."""
        if x.requires_grad and torch.is_grad_enabled() and not self.net.training:
            return self._attacked(x)
        logits: Tensor = self.net(x)
        return logits


def fast_passes(net: nn.Module, execution: Execution, batch_size: int) -> nn.Module:
    """Return the module that full batches pass through; it shares a network's weights and modes.

    Compiled graphs if the recipe asks for them, recorded passes on CUDA, else the network itself.
    """
    if execution.kernels == "compiled":
        return compiled(net, execution)
    if execution.device.startswith("cuda"):
        return RecordedPasses(net, execution, batch_size)
    return net


def compile_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that are raised when a graph cannot be compiled."""
    if "torch._dynamo" not in sys.modules:  # importing it takes seconds, and nothing was compiled
        return ()
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    return (TorchDynamoException, FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler)


def compiled_files() -> str:
    """Return the folder of compiled files, where a killed compiler may leave half a file."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return cache_dir()


def compiler_missing(device: str) -> str | None:
    """Return why a device has no compiler, or None if it has one."""
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
def _refuse_uncompiled_graphs(execution: Execution) -> Iterator[None]:
    """Raise instead of running a graph uncompiled, which would change the bits."""
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

    They mostly do where the instructions exist. Intel CPUs with AVX-512 bf16 take nearly twice as
    long where AMX is missing or hidden by a virtual machine. Nothing is timed, because the answer
    must be the same every time.
    """
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False
    return bool(capabilities.get("amx_bf16")) or "Intel" not in processor()
