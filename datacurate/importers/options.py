"""What the user states about an imported file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datacurate.formats.ordering import Direction


@dataclass(frozen=True)
class ImportOptions:
    """What the user states about a file, for the formats that need it.

    Attributes
    ----------
    direction : str, optional
        Which end of the scores is problematic, ``"high"`` or ``"low"``.
    never : float, optional
        The count that means "never learned".
    """

    direction: Direction | None = None
    never: float | None = None
