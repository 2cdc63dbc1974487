"""One verification for each value of something: the curves of S0's figures 2, 11, 12, 14 and 16.

Values whose arms are trained alike share these trainings: all examples are trained on once,
however many amounts are kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datacurate.data import DataSet
from datacurate.errors import UsageError
from datacurate.outputs import refuse_existing, write_json, write_text
from datacurate.recipes import VerifyRecipe, recipe_hash
from datacurate.verification.arms import GivenRows, arms_of
from datacurate.verification.execute import (
    refuse_existing_record,
    resolved,
    state_directory,
    verify,
)
from datacurate.verification.record import as_record, read_record
from datacurate.verification.surrogate import surrogate_for
from datacurate.verification.trainings import VerificationProgress, rows_sha256
from datacurate.workers.workspace import claimed, has_claim

FORMAT = "datacurate.sweep"
FORMAT_VERSION = "1.0"
_ACCURACIES = ("clean", "pgd10", "robust", "overestimation_gap", "cross_generalization_gap")


@dataclass(frozen=True)
class Point:
    """One value of a sweep.

    Attributes
    ----------
    value : str
        As it was asked for, such as ``"0.4"``.
    recipe : VerifyRecipe
    given : mapping of str to GivenRows
        As for `datacurate.verification.verify`.
    """

    value: str
    recipe: VerifyRecipe
    given: Mapping[str, GivenRows]


def sweep(
    key: str,
    points: Sequence[Point],
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    command: Sequence[str] = (),
    trainings: Path | None = None,
    surrogate: Path | None = None,
    on_progress: Callable[[str, VerificationProgress], None] | None = None,
) -> dict[str, Any]:
    """Verify at every value, and write a record of each and a table of all.

    Killed at any moment, the same call goes on where it stopped.

    Parameters
    ----------
    key : str
        What varies.
    points : sequence of Point
    data : DataSet
    out : Path
        The table, JSON; beside it the same as CSV, and for each value its record, named by
        `record_path`.
    force : bool
        Replace what is there, and forget an unfinished sweep.
    parallel : int
        As for `datacurate.verification.verify`, at each value.
    command : sequence of str
        The command line, for the records.
    trainings : Path, optional
        As for `datacurate.verification.verify`; by default they are kept until the sweep ends.
    surrogate : Path, optional
        As for `datacurate.verification.verify`, at every value.
    on_progress : callable, optional
        Called with the value and where its verification is.

    Returns
    -------
    dict
        The table, as written.

    Raises
    ------
    UsageError
        If there is no value, or one twice.
    DatacurateError
        As `datacurate.verification.verify` does.
    """
    values = [point.value for point in points]
    if not values or len(set(values)) != len(values):
        raise UsageError(
            f"a sweep over {key} needs different values",
            expected=f"--sweep {key}=A,B,...",
            got=",".join(values) or "none",
        )
    state = state_directory(out)
    records = {point.value: record_path(out, key, point.value) for point in points}
    if len(set(records.values())) != len(values) or out.suffix == ".csv":
        raise UsageError(
            "the files of this sweep would overwrite each other",
            expected="a table in .json, and values that differ in their files' names",
            got=f"{out.name}; " + ", ".join(path.name for path in records.values()),
            hint="write the values otherwise, or choose another --out",
        )
    for path in (out, out.with_suffix(".csv")):
        refuse_existing(path, force)
    if not has_claim(state):
        for path in records.values():
            refuse_existing_record(path, force)
    for point in points:
        arms_of(point.recipe, data, point.given)
        shown = surrogate_for(point.recipe, data, surrogate)
    identity = data.train.identity
    work = {
        "labels": identity.label_fingerprint,
        "pixels": identity.pixel_fingerprint,
        "sweep": {
            point.value: {
                "recipe": recipe_hash(point.recipe),
                "arms": {name: rows_sha256(arm.rows) for name, arm in point.given.items()},
            }
            for point in points
        },
        **({} if shown is None else {"surrogate": shown.sha256}),
    }
    base = points[0].recipe
    with claimed(state, base, work, lambda r: resolved(r, data, parallel), out, force) as full:
        found: dict[str, dict[str, Any]] = {}
        for point in points:
            path = records[point.value]
            # What is to be replaced stays until then: not every record there is this sweep's.
            finished = state / f"{path.name}.finished"
            if finished.exists():
                found[point.value] = read_record(path)
                continue

            def report(progress: VerificationProgress, value: str = point.value) -> None:
                if on_progress is not None:
                    on_progress(value, progress)

            recipe = point.recipe
            if recipe.execution == base.execution:
                recipe = replace(recipe, execution=full.execution)
            found[point.value] = as_record(
                verify(
                    recipe,
                    data,
                    point.given,
                    path,
                    force=force or path.exists(),
                    parallel=parallel,
                    command=command,
                    trainings=trainings or state,
                    surrogate=surrogate,
                    on_progress=report,
                )
            )
            write_text(finished, "")
        table = _table(key, found, records)
        write_text(out.with_suffix(".csv"), as_csv(table))
        write_json(out, table)
    return table


def record_path(out: Path, key: str, value: str) -> Path:
    """Return where the record of one value lies: ``verify.json`` → ``verify.keep_0_4.json``."""
    plain = "".join(c if c.isalnum() else "_" for c in f"{key.rpartition('.')[2]}_{value}")
    return out.with_name(f"{out.stem}.{plain}.json")


def as_csv(table: Mapping[str, Any]) -> str:
    """Return a line for every value, arm and checkpoint of a sweep's table; empty is none."""
    heads = [name + suffix for name in _ACCURACIES for suffix in ("", "_sd")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([table["key"], "arm", "at", "examples", *heads, "robust_overfitting_gap"])
    for point in table["points"]:
        for arm in point["summary"]:
            for at in ("best", "last"):
                row = [point["value"], arm["arm"], at, arm["examples"]]
                for name in _ACCURACIES:
                    spread = arm[at][name] or {"mean": None, "sd": None}
                    row += [spread["mean"], spread["sd"]]
                writer.writerow([*row, arm["robust_overfitting_gap"]["mean"]])
    return text.getvalue()


def _table(
    key: str, found: Mapping[str, Mapping[str, Any]], records: Mapping[str, Path]
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": key,
        "correction": "within each value; not over the values, of which some differ by chance",
        "points": [
            {
                "value": value,
                "record": records[value].name,
                "recipe_hash": record["recipe_hash"],
                "summary": record["summary"],
                "comparisons": record["comparisons"],
            }
            for value, record in found.items()
        ],
    }
