"""JSON as the formats allow it: no NaN, no infinities, no nesting that exhausts the stack."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def parsed_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    ValueError
        If it is not JSON, nested too deep, or holds NaN or an infinity.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"it holds {word}")
