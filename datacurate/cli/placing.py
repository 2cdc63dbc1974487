"""Where trainings run, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datacurate.cli import console

if TYPE_CHECKING:
    from datacurate.recipes import Execution


def placed(execution: Execution, together: int) -> str:
    """Return where trainings run, with which kernels, and how many at a time if several."""
    text = f"{execution.device}, {execution.dtype}, {execution.kernels}, "
    text += f"{execution.threads} threads"
    return text if together == 1 else f"{text}, {together} at a time"


def warn_if_crowded(execution: Execution, together: int) -> None:
    """Warn where trainings at a time ask for more cores than there are."""
    from datacurate.machine import cores

    if execution.device == "cpu" and together * execution.threads > cores():
        console.warn(
            f"{together} at a time with {execution.threads} threads each share {cores()} cores: "
            "fewer at a time may be faster"
        )
