"""Workers are tested with the small trainings of the training tests."""

from __future__ import annotations

from tests.training.conftest import digits, training

__all__ = ["digits", "training"]
