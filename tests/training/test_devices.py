"""What is left to the machine is what is fast on it."""

from __future__ import annotations

import pytest
import torch

from datacurate.recipes import Execution
from datacurate.training import devices


@pytest.mark.parametrize(
    ("instructions", "processor", "expected"),
    [
        ({"avx512_bf16": True}, "AMD EPYC 9B14", "bfloat16"),
        ({"avx512_bf16": True, "amx_bf16": True}, "Intel(R) Xeon(R) Processor", "bfloat16"),
        # A virtual machine hides its AMX.
        ({"avx512_bf16": True, "amx_bf16": False}, "Intel(R) Xeon(R) Processor", "float32"),
        ({"avx512_bf16": False}, "AMD EPYC 7B12", "float32"),
        ({}, "AMD EPYC 7B12", "float32"),
    ],
)
def test_bfloat16_is_taken_where_it_is_there_and_faster(
    instructions: dict[str, bool],
    processor: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    monkeypatch.setattr(devices, "processor", lambda: processor)
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
