"""How the library tells its caller something on the way: a function that takes one line of text."""

from __future__ import annotations

from collections.abc import Callable

Notify = Callable[[str], None]
"""Takes one line for the user, such as what is about to be downloaded."""
