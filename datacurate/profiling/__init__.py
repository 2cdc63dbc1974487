"""Profile a data set: plan, train several times, write one rank file."""

from __future__ import annotations

from datacurate.profiling.execute import (
    RANKS_SUFFIX,
    ProfileProgress,
    at_once,
    decided,
    estimated,
    for_images,
    is_unfinished,
    planned,
    profile,
    refuse_finished,
    resolved,
    state_directory,
    training_data,
)

__all__ = [
    "RANKS_SUFFIX",
    "ProfileProgress",
    "at_once",
    "decided",
    "estimated",
    "for_images",
    "is_unfinished",
    "planned",
    "profile",
    "refuse_finished",
    "resolved",
    "state_directory",
    "training_data",
]
