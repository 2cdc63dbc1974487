"""Did the pruning help? Retrain on kept, all and random examples, attack, compare over seeds."""

from datacurate.verification.arms import arm_rows, held_out_rows
from datacurate.verification.record import Comparison, Member, Verification
from datacurate.verification.running import (
    Progress,
    estimated_seconds,
    is_unfinished,
    resolved,
    stated_effect,
    verify,
)

__all__ = [
    "Comparison",
    "Member",
    "Progress",
    "Verification",
    "arm_rows",
    "estimated_seconds",
    "held_out_rows",
    "is_unfinished",
    "resolved",
    "stated_effect",
    "verify",
]
