"""Did the pruning help? Retrain on chosen, all and random examples, attack, compare over seeds."""

from datacurate.verification.arms import (
    KEPT_ARM,
    GivenRows,
    arms_of,
    held_out_rows,
    pairs,
    with_own_arms,
)
from datacurate.verification.comparing import Comparison, correction
from datacurate.verification.execute import (
    at_once,
    decided,
    estimated_seconds,
    is_unfinished,
    planned,
    refuse_existing_record,
    resolved,
    stated_effect,
    verify,
)
from datacurate.verification.record import as_record, judged_again, read_record
from datacurate.verification.results import Member, StandardMember, Verification
from datacurate.verification.surrogate import surrogate_for
from datacurate.verification.sweeping import Point, sweep
from datacurate.verification.trainings import VerificationProgress

__all__ = [
    "KEPT_ARM",
    "Comparison",
    "GivenRows",
    "Member",
    "Point",
    "StandardMember",
    "Verification",
    "VerificationProgress",
    "arms_of",
    "as_record",
    "at_once",
    "correction",
    "decided",
    "estimated_seconds",
    "held_out_rows",
    "is_unfinished",
    "judged_again",
    "pairs",
    "planned",
    "read_record",
    "refuse_existing_record",
    "resolved",
    "stated_effect",
    "surrogate_for",
    "sweep",
    "verify",
    "with_own_arms",
]
