"""Profile a data set: plan, train several times, write one rank file."""

from __future__ import annotations

from datacurate.profiling.execute import ProfileProgress, profile, run
from datacurate.profiling.plan import RANKS_SUFFIX, ProfilePlan, plan, workspace_of

__all__ = [
    "RANKS_SUFFIX",
    "ProfilePlan",
    "ProfileProgress",
    "plan",
    "profile",
    "run",
    "workspace_of",
]
