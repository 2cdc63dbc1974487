"""Amounts of examples as users write them: 40000, 0.8, 80%."""

from __future__ import annotations

import re

from datacurate.errors import UsageError

_COUNT = re.compile(r"[0-9]+")
_FRACTION = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) *%")


def parse_amount(text: str, of: int, what: str = "--keep") -> int:
    """Return the number of examples that an amount means.

    Parameters
    ----------
    text : str
        A count (``"40000"``), a fraction with a decimal point (``"0.8"``) or a percentage
        (``"80%"``). ``"1"`` is one example, ``"1.0"`` all of them. Fractions are rounded to the
        nearest count, halves to the even one.
    of : int
        Number of examples that there are.
    what : str
        Name of the option, for the message.

    Raises
    ------
    UsageError
        If the text is not an amount, or means no example or more than there are.
    """
    stripped = text.strip().replace("_", "")
    if _COUNT.fullmatch(stripped):
        amount = int(stripped)
    elif _FRACTION.fullmatch(stripped):
        amount = round(float(stripped) * of)
    elif match := _PERCENT.fullmatch(stripped):
        amount = round(float(match[1]) * of / 100)
    else:
        raise UsageError(
            f"{what} {text} is not an amount",
            expected="a count (40000), a fraction (0.8) or a percentage (80%)",
            got=repr(text),
        )
    if not 1 <= amount <= of:
        raise UsageError(
            f"{what} {text} is out of range",
            expected=f"1 to {of:,} examples",
            got=f"{amount:,}",
            hint=f"{what} {max(of * 4 // 5, 1)} keeps four fifths",
        )
    return amount
