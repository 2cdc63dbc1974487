"""The tree of errors.

Every error that datacurate raises on purpose is a `DatacurateError`; anything else is a bug.

::

    DatacurateError            the work cannot go on                       exit 1
    ├── UsageError             the request itself is wrong                 exit 2
    │   ├── UnknownNameError   a name that is not in a table
    │   └── RecipeError        a recipe key or value that is not valid
    ├── DataError              a data set cannot be read or used
    │   ├── DataNotFoundError  no such data here
    │   └── DataMismatchError  ranks, indices and data do not belong together
    ├── FileError              a file of ours cannot be read or does not hold
    │   └── NewerFormatError   the file was written by a later version
    ├── OutputError            a result cannot be written
    │   ├── OutputExistsError  something is there already
    │   └── OutputBusyError    another process is writing it
    ├── StateError             saved state belongs to other work
    ├── TrainingError          a training diverged or ran out of memory
    ├── CheckpointError        a checkpoint does not fit
    ├── FetchError             something could not be downloaded or has the wrong hash
    │   └── UnreachableError   no network, or told to do without it
    └── PublishError           something could not be published
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DatacurateError(Exception):
    """What went wrong, what was expected, what was found, and what to do next.

    Parameters
    ----------
    what : str
        One sentence that names the thing and the problem.
    expected, got : str, optional
        The two sides of a failed check.
    hint : str, optional
        The next command or step.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.got is not None:
            lines.append(f"  got:      {self.got}")
        if self.hint is not None:
            lines.append(f"  next:     {self.hint}")
        return "\n".join(lines)


class UsageError(DatacurateError):
    """The request itself is wrong."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a table; the message offers the nearest one.

    Parameters
    ----------
    kind : str
        What the name should have named, such as ``"recipe"``.
    name : str
        The name given.
    known : iterable of str
        The names there are.
    short : iterable of str
        Other spellings among which the nearest is sought.
    hint : str, optional
        Said when no known name is near.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        short: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, [*names, *short], n=1, cutoff=0.5)
        super().__init__(
            f"there is no {kind} called {name!r}",
            # A long list helps only where no near name was found.
            expected=None if near and len(names) > 16 else "one of " + ", ".join(names),
            hint=f"did you mean {near[0]!r}?" if near else hint,
        )


class RecipeError(UsageError):
    """A recipe key or value that is not valid."""


class DataError(DatacurateError):
    """A data set cannot be read or used."""


class DataNotFoundError(DataError):
    """No such data here."""


class DataMismatchError(DataError):
    """Ranks, indices and data do not belong together."""


class FileError(DatacurateError):
    """A file of ours cannot be read or does not hold."""


class NewerFormatError(FileError):
    """The file was written by a later version of datacurate."""


class OutputError(DatacurateError):
    """A result cannot be written."""


class OutputExistsError(OutputError):
    """Something is there already."""


class OutputBusyError(OutputError):
    """Another process is writing it."""


class StateError(DatacurateError):
    """Saved state belongs to other work."""


class TrainingError(DatacurateError):
    """A training diverged or ran out of memory."""


class CheckpointError(DatacurateError):
    """A checkpoint does not fit."""


class FetchError(DatacurateError):
    """Something could not be downloaded or has the wrong hash."""


class UnreachableError(FetchError):
    """There is no network, or we were told to do without it."""


class PublishError(DatacurateError):
    """Something could not be published."""
