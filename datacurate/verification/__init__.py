"""Measure what pruning did: train arms of examples, attack the networks, compare over seeds."""

from __future__ import annotations

from datacurate.verification.arms import (
    KEPT_ARM,
    GivenRows,
    arms_of,
    held_out_rows,
    pairs,
    with_own_arms,
)
from datacurate.verification.comparing import Comparison, correction
from datacurate.verification.execute import run, verify
from datacurate.verification.plan import (
    VerificationPlan,
    plan,
    refuse_existing_record,
    workspace_of,
)
from datacurate.verification.record import as_record, compare_again, read_record
from datacurate.verification.results import StandardNetwork, TrainedNetwork, Verification
from datacurate.verification.surrogate import surrogate_for
from datacurate.verification.sweeping import Point, SweepPlan, plan_sweep, run_sweep, sweep
from datacurate.verification.trainings import VerificationProgress

__all__ = [
    "KEPT_ARM",
    "Comparison",
    "GivenRows",
    "Point",
    "StandardNetwork",
    "SweepPlan",
    "TrainedNetwork",
    "Verification",
    "VerificationPlan",
    "VerificationProgress",
    "arms_of",
    "as_record",
    "compare_again",
    "correction",
    "held_out_rows",
    "pairs",
    "plan",
    "plan_sweep",
    "read_record",
    "refuse_existing_record",
    "run",
    "run_sweep",
    "surrogate_for",
    "sweep",
    "verify",
    "with_own_arms",
    "workspace_of",
]
