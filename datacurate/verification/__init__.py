"""Did the pruning help? Retrain on chosen, all and random examples, attack, compare over seeds."""

from datacurate.verification.arms import (
    KEPT,
    GivenRows,
    arms_of,
    held_out_rows,
    with_own_arms,
)
from datacurate.verification.members import Progress
from datacurate.verification.record import Comparison, Member, Verification
from datacurate.verification.running import (
    estimated_seconds,
    is_unfinished,
    resolved,
    stated_effect,
    verify,
)

__all__ = [
    "KEPT",
    "Comparison",
    "GivenRows",
    "Member",
    "Progress",
    "Verification",
    "arms_of",
    "estimated_seconds",
    "held_out_rows",
    "is_unfinished",
    "resolved",
    "stated_effect",
    "verify",
    "with_own_arms",
]
