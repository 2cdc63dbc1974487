"""Verify at several values of one field: the curves of Dong et al. 2021, figures 2, 11 to 14, 16.

Values whose arms are trained alike share these trainings. So all examples are trained on only once,
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
from datacurate.notices import Notify
from datacurate.outputs import refuse_existing, write_json, write_text
from datacurate.recipes import VerifyRecipe, recipe_hash
from datacurate.training.planning import ExecutionPlan
from datacurate.verification.arms import GivenRows
from datacurate.verification.execute import run
from datacurate.verification.plan import (
    VerificationPlan,
    plan,
    refuse_existing_record,
    workspace_of,
)
from datacurate.verification.record import as_record, read_record
from datacurate.verification.trainings import VerificationProgress
from datacurate.workers.workspace import (
    is_unfinished,
    kernel_trials,
    open_workspace,
    resolved_recipe,
)

FORMAT = "datacurate.sweep"
FORMAT_VERSION = "1.0"
_ACCURACIES = ("clean", "pgd10", "robust", "overestimation_gap", "cross_generalization_gap")


@dataclass(frozen=True)
class Point:
    """One value of a sweep.

    Attributes
    ----------
    value : str
        As the user wrote it, such as ``"0.4"``.
    recipe : VerifyRecipe
    given : mapping of str to GivenRows
        As for `datacurate.verification.verify`.
    """

    value: str
    recipe: VerifyRecipe
    given: Mapping[str, GivenRows]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will do.

    Attributes
    ----------
    key : str
        The field that varies.
    plans : mapping of str to VerificationPlan
        The verification of each value.
    requested : mapping of str to VerifyRecipe
        The recipe of each value as the user asked for it.
    out : Path
        The table, JSON.
    resumes : bool
        Whether it continues unfinished work.
    force : bool
        Whether it replaces what is there and forgets an unfinished sweep.
    """

    key: str
    plans: Mapping[str, VerificationPlan]
    requested: Mapping[str, VerifyRecipe]
    out: Path
    resumes: bool
    force: bool

    @property
    def first(self) -> VerificationPlan:
        """The verification of the first value."""
        return next(iter(self.plans.values()))

    @property
    def work(self) -> dict[str, Any]:
        """What the sweep depends on beside the first recipe, as JSON values."""
        work = self.first.work
        del work["arms"]
        values = {
            value: {"recipe": recipe_hash(self.requested[value]), "arms": plan.work["arms"]}
            for value, plan in self.plans.items()
        }
        return {**work, "sweep": values}


def plan_sweep(
    key: str,
    points: Sequence[Point],
    data: DataSet,
    out: Path,
    *,
    force: bool = False,
    parallel: int = 1,
    trainings: Path | None = None,
    surrogate: Path | None = None,
    tell: Notify | None = None,
) -> SweepPlan:
    """Decide everything that a sweep leaves open.

    Kernels are tried once; the values whose recipes ask for the same execution share the choice.
    The parameters are those of one command, so there are more than eight.

    Parameters
    ----------
    key : str
        The field that varies.
    points : sequence of Point
    data : DataSet
    out : Path
        The table, JSON. The same is written beside it as CSV, and for each value its record, named
        by `record_path`.
    force : bool
        Replace what is there, and forget an unfinished sweep.
    parallel : int
        As for `datacurate.verification.plan`, at each value.
    trainings : Path, optional
        As for `datacurate.verification.plan`; by default they are kept until the sweep ends.
    surrogate : Path, optional
        As for `datacurate.verification.plan`, at every value.
    tell : callable, optional
        Told before a step that takes long.

    Raises
    ------
    UsageError
        If there is no value, or a value twice, or if files would overwrite each other.
    DatacurateError
        As `datacurate.verification.plan` does.
    """
    records = _record_paths(key, [point.value for point in points], out)
    workspace = workspace_of(out)
    for path in (out, out.with_suffix(".csv")):
        refuse_existing(path, force)
    resumes = is_unfinished(workspace) and not force
    if not is_unfinished(workspace):
        for path in records.values():
            refuse_existing_record(path, force)
    shared = _resumed_execution(workspace, parallel) if resumes else None
    plans: dict[str, VerificationPlan] = {}
    for point in points:
        path = records[point.value]
        alike = point.recipe.execution == points[0].recipe.execution
        execution = shared if alike else None
        if resumes and _finished_mark(workspace, path).exists():
            # It will not run again, so there is nothing to decide.
            execution = ExecutionPlan(point.recipe.execution, parallel)
        planned = plan(
            point.recipe,
            data,
            point.given,
            path,
            # With --force an older record may stand in the place of one that is still missing.
            force=force or (resumes and path.exists()),
            parallel=parallel,
            trainings=trainings or workspace,
            surrogate=surrogate,
            execution=execution,
            tell=tell,
        )
        if alike and shared is None:
            shared = planned.execution
        if alike:
            recipe = replace(planned.requested, execution=planned.recipe.execution)
            planned = replace(planned, requested=recipe)
        plans[point.value] = planned
    requested = {point.value: point.recipe for point in points}
    return SweepPlan(key, plans, requested, out, resumes, force)


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
    """Plan a sweep and run it; see `plan_sweep` and `run_sweep`.

    The parameters are those of the command, so there are more than eight.

    Parameters
    ----------
    key, points, data, out, force, parallel
        As for `plan_sweep`.
    command
        As for `run_sweep`.
    trainings, surrogate
        As for `plan_sweep`.
    on_progress
        As for `run_sweep`.

    Returns
    -------
    dict
        The table, as written.
    """
    planned = plan_sweep(
        key,
        points,
        data,
        out,
        force=force,
        parallel=parallel,
        trainings=trainings,
        surrogate=surrogate,
    )
    return run_sweep(planned, command=command, on_progress=on_progress)


def run_sweep(
    sweep: SweepPlan,
    *,
    command: Sequence[str] = (),
    on_progress: Callable[[str, VerificationProgress], None] | None = None,
) -> dict[str, Any]:
    """Verify at every value, and write a record of each and a table of all.

    Killed at any moment, the same call continues.

    Parameters
    ----------
    sweep : SweepPlan
    command : sequence of str
        The command line, for the records.
    on_progress : callable, optional
        Called with the value and the progress of its verification.

    Returns
    -------
    dict
        The table, as written.

    Raises
    ------
    DatacurateError
        As `datacurate.verification.run` does.
    """
    workspace, first = workspace_of(sweep.out), sweep.first
    with open_workspace(
        workspace,
        next(iter(sweep.requested.values())),
        first.recipe,
        sweep.work,
        sweep.out,
        force=sweep.force,
        kernels=first.execution.trials,
    ):
        records: dict[str, dict[str, Any]] = {}
        for value, planned in sweep.plans.items():
            mark = _finished_mark(workspace, planned.out)
            if mark.exists():
                records[value] = read_record(planned.out)
                continue

            def report(progress: VerificationProgress, value: str = value) -> None:
                if on_progress is not None:
                    on_progress(value, progress)

            verification = run(planned, command=command, on_progress=report)
            records[value] = as_record(verification)
            write_text(mark, "")
        table = _make_table(sweep, records)
        write_text(sweep.out.with_suffix(".csv"), as_csv(table))
        write_json(sweep.out, table)
    return table


def _record_paths(key: str, values: Sequence[str], out: Path) -> dict[str, Path]:
    if not values or len(set(values)) != len(values):
        raise UsageError(
            f"a sweep over {key} needs different values",
            expected=f"--sweep {key}=A,B,...",
            got=",".join(values) or "none",
        )
    records = {value: record_path(out, key, value) for value in values}
    if len(set(records.values())) != len(values) or out.suffix == ".csv":
        raise UsageError(
            "the files of this sweep would overwrite each other",
            expected="a table in .json, and values whose records have different names",
            got=f"{out.name}; " + ", ".join(path.name for path in records.values()),
            hint="write the values differently, or choose another --out",
        )
    return records


def _resumed_execution(workspace: Path, parallel: int) -> ExecutionPlan | None:
    """Return where the trainings of an unfinished sweep run."""
    recipe = resolved_recipe(workspace, VerifyRecipe)
    if recipe is None:
        return None
    return ExecutionPlan(recipe.execution, parallel, kernel_trials(workspace))


def _finished_mark(workspace: Path, record: Path) -> Path:
    """Return the file that says that a record was written by this sweep, not by an older one."""
    return workspace / f"{record.name}.finished"


def record_path(out: Path, key: str, value: str) -> Path:
    """Return the path of the record of one value: ``verify.json`` → ``verify.keep_0_4.json``."""
    plain = "".join(c if c.isalnum() else "_" for c in f"{key.rpartition('.')[2]}_{value}")
    return out.with_name(f"{out.stem}.{plain}.json")


def as_csv(table: Mapping[str, Any]) -> str:
    """Return the table as CSV: a line for every value, arm and checkpoint."""
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


def _make_table(sweep: SweepPlan, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "key": sweep.key,
        "correction": "within each value; not over the values, of which some differ by chance",
        "points": [
            {
                "value": value,
                "record": sweep.plans[value].out.name,
                "recipe_hash": record["recipe_hash"],
                "summary": record["summary"],
                "comparisons": record["comparisons"],
            }
            for value, record in records.items()
        ],
    }
