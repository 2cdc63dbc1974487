"""The processes that a process started: which they are, and whether they ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the processes that the main thread of a process started and that are still there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids: Sequence[int]) -> bool:
    """Whether processes ended, within a while."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if all(map(_ended, pids)):
            return True
        time.sleep(0.02)
    return False


def _ended(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
