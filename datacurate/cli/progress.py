"""Progress of long work on stderr: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from datacurate.cli.console import err

if TYPE_CHECKING:
    from datacurate.training.history import EpochReport

_ROWS = 12  # last epochs shown; the history has all of them


def duration(seconds: float) -> str:
    """Return a duration in words: ``41 s``, ``12 min``, ``3.5 h``, ``6.2 days``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


class LiveProgress:
    """Shows epochs and attacks as they happen, with the remaining time.

    Parameters
    ----------
    total : float
        Total work, in epochs of the largest training.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        self._done = self._worked = 0.0
        self._started = time.monotonic()
        self._rows: deque[tuple[str, ...]] = deque(maxlen=_ROWS)
        self._line = ""
        self._begun: set[str] = set()
        self._attacks: dict[str, tuple[str, str]] = {}
        self._live = Live(console=err(), get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> Self:
        if err().is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_attacks()
        if err().is_terminal:
            self._line = ""
            self._live.stop()

    def epoch(self, what: str, before: float, weight: float, report: EpochReport) -> None:
        """Show an epoch.

        Parameters
        ----------
        what : str
            Which training it belongs to, such as ``"run 2/3"``.
        before : float
            Finished work of other trainings, in the unit of `total`.
        weight : float
            Work of one epoch of this training.
        report : EpochReport
        """
        self._begin(what)
        self._done = before + report.epoch * weight
        # Epochs of an earlier process took no time here, so they do not count for the pace.
        self._worked += weight
        row = (
            what,
            f"{report.epoch}/{report.epochs}",
            f"{report.loss:.3f}",
            f"{report.train_robust:.1%}",
            "" if report.clean is None else f"{report.clean:.1%}",
            "" if report.robust is None else f"{report.robust:.1%}",
            f"{report.examples_per_second:,.0f}",
            self._left(),
        )
        self._rows.append(row)
        self._line = f"{what}: epoch {min(report.epoch + 1, report.epochs)} of {report.epochs}"
        if not err().is_terminal:
            evaluated = "" if not row[4] else f", test {row[4]} clean {row[5]} robust"
            err().print(
                f"{what} epoch {row[1]}: loss {row[2]}, train robust {row[3]}{evaluated}, "
                f"{row[6]} examples/s, {row[7]} left"
            )

    def attack(self, what: str, name: str, done: int, total: int) -> None:
        """Show the progress of an attack; without a terminal, one line when the next one begins."""
        self._begin(what)
        if what in self._attacks and self._attacks[what][0] != name:
            self._end_attacks(what)
        self._line = f"{what}: {name}, {done:,} of {total:,} examples"
        self._attacks[what] = (name, self._line)

    def _begin(self, what: str) -> None:
        # Concurrent trainings do not end each other's attacks. A new one starts when another ends.
        if what not in self._begun:
            self._end_attacks()
        self._begun.add(what)

    def _end_attacks(self, *trainings: str) -> None:
        for what in trainings or tuple(self._attacks):
            _, line = self._attacks.pop(what)
            if not err().is_terminal:
                err().print(line)

    def _left(self) -> str:
        elapsed = time.monotonic() - self._started
        return duration(elapsed / self._worked * max(self._total - self._done, 0.0))

    def _render(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("", "epoch", "loss", "train robust", "clean", "robust", "examples/s"):
            table.add_column(heading, justify="left" if not heading else "right")
        table.add_column("time left", justify="right")
        for row in self._rows:
            table.add_row(*map(Text, row))
        grid = Table.grid()
        grid.add_row(table)
        if self._line:
            elapsed = duration(time.monotonic() - self._started)
            grid.add_row(Spinner("dots", Text(f"{self._line} · {elapsed} so far", style="dim")))
        return grid
