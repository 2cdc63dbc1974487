"""The one place that prints and exits.

Results go to standard output, everything else (notes, warnings, progress, errors) to standard
error. Colours and live displays appear only on a terminal and never with ``NO_COLOR``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from datacurate.errors import DatacurateError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


_PIPE_WIDTH = 200  # characters
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


@cache
def out() -> Console:
    """Return the console of results; rich is imported on the first output."""
    from rich.console import Console

    # A file or a pipe has no width, so do not cut the headings of tables.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width)


@cache
def err() -> Console:
    """Return the console of notes, warnings, progress and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say_out(text: str) -> None:
    """Print a line of the result."""
    out().print(_inert(text))


def note(text: str) -> None:
    """Print a line about the progress."""
    err().print(_inert(text), style="dim")


def warn(text: str) -> None:
    """Print a warning."""
    err().print(f"[bold yellow]warning:[/] {_inert(text)}")


def print_json(value: Any) -> None:
    """Print a result as JSON, and nothing but that, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def print_table(table: Table) -> None:
    """Print a table of the result."""
    out().print(table)


def fail(error: DatacurateError) -> NoReturn:
    """Print an error and exit with its code."""
    err().print(f"[bold red]error:[/] {_inert(str(error))}")
    sys.exit(error.exit_code)


def _inert(text: str) -> str:
    """Return a text without markup and control characters: files may be hostile."""
    from rich.markup import escape

    printable = (
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )
    return escape("".join(printable))


@contextlib.contextmanager
def errors_as_exit_codes(debug: bool) -> Iterator[None]:
    """Turn every error of the block into one message and an exit code."""
    try:
        yield
    except DatacurateError as error:
        if debug:
            raise
        fail(error)
    except KeyboardInterrupt:
        err().print("interrupted")
        sys.exit(_INTERRUPTED)
    except SystemExit as leaving:
        # Typer exits this way after Ctrl-C, without a message.
        if leaving.code == _INTERRUPTED:
            err().print("interrupted")
        raise
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`); this is not an error.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        err().print(
            f"[bold red]internal error:[/] {_inert(type(error).__name__)}: {_inert(str(error))}\n"
            "  next:     run the command again with --debug and report what it prints"
        )
        sys.exit(1)
