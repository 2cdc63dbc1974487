"""What is left to the machine is what is fast on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from datacurate.recipes import Execution
from datacurate.training import devices


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """Forget what this machine was found to be, before and after."""
    devices._faster_in_bfloat16.cache_clear()
    yield
    devices._faster_in_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("instructions", "slow", "expected"),
    [
        ({"avx512_bf16": True}, torch.float32, "bfloat16"),
        ({"amx_bf16": True}, torch.float32, "bfloat16"),
        # As on Intel's CPUs with AVX-512 bf16 whose AMX a virtual machine hides.
        ({"avx512_bf16": True}, torch.bfloat16, "float32"),
        ({"avx512_bf16": False}, torch.float32, "float32"),
        ({}, torch.float32, "float32"),
    ],
)
def test_bfloat16_is_taken_where_it_is_there_and_faster(
    instructions: dict[str, bool],
    slow: torch.dtype,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convolution = torch.nn.functional.conv2d

    def slowed(maps: Tensor, *others: Any, **named: Any) -> Tensor:
        if maps.dtype == slow:
            time.sleep(0.05)
        return convolution(maps, *others, **named)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    monkeypatch.setattr(devices.functional, "conv2d", slowed)
    assert devices.resolve(Execution(device="cpu")).dtype == expected
    # What was asked for is not second-guessed.
    assert devices.resolve(Execution(device="cpu", dtype="bfloat16")).dtype == "bfloat16"


def test_the_process_is_left_as_it_was() -> None:
    def settings() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            torch.backends.cudnn.benchmark,
        )

    before = settings()
    with devices.deterministic(Execution(device="cpu", threads=before[0] + 1)):  # type: ignore[operator]
        assert torch.are_deterministic_algorithms_enabled()
        assert settings()[0] != before[0]
    assert settings() == before
