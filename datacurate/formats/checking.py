"""Check a rank file: recompute every number from the numbers that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DatacurateError, DataError
from datacurate.formats.aggregating import aggregate_runs
from datacurate.formats.columns import KNOWN_COLUMNS, Column
from datacurate.formats.ordering import direction_of, rank_of_column
from datacurate.formats.rankfile import RankFile, read
from datacurate.ranks import ranking, scores
from datacurate.recipes import stored_recipe_hash

_TOLERANCE = 1e-6  # a mean of float32 probabilities may exceed 1 by rounding


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name : str
    ok : bool
    detail : str
        The finding in words.
    """

    name: str
    ok: bool
    detail: str


def check(path: Path) -> list[Check]:
    """Recompute everything in a rank file, and return what is right and what is wrong.

    Raises
    ------
    FileError
        If the file cannot be read at all, or its content does not match its hashes.
    """
    rank_file = read(path)
    names = ", ".join(rank_file.columns)
    found = [
        Check("hashes", True, f"content sha256 {rank_file.content_sha256[:16]}, columns {names}"),
        Check("labels", True, _labels(rank_file)),
    ]
    for look in (_recipe, _runs, _missing, _ranges, _record, _early, _aggregate, _order):
        found += look(rank_file)
    return found


def _labels(rank_file: RankFile) -> str:
    if not rank_file.identity.labelled:
        return "not in this file, only their fingerprint"
    return f"{len(rank_file):,}, as their fingerprint states"


def _recipe(rank_file: RankFile) -> Iterator[Check]:
    provenance = rank_file.provenance
    if provenance.recipe is None:
        return
    computed = stored_recipe_hash(provenance.recipe)
    ok = computed == provenance.recipe_hash
    detail = computed if ok else f"stated {provenance.recipe_hash}, computed {computed}"
    yield Check("recipe hash", ok, detail)


def _runs(rank_file: RankFile) -> Iterator[Check]:
    recipe = rank_file.provenance.recipe
    if recipe is None:
        return
    training = recipe.get("training")
    intended = recipe.get("runs")
    epochs = training.get("epochs") if isinstance(training, dict) else None
    if not isinstance(intended, int) or not isinstance(epochs, int):
        yield Check("runs", False, "the recipe does not state runs and epochs")
        return
    others = [length for length in rank_file.provenance.epochs if length != epochs]
    yield Check(
        "runs",
        1 <= rank_file.runs <= intended and not others,
        f"{rank_file.runs} of {intended} finished, {epochs} epochs each"
        if not others
        else f"a run of {others[0]} epochs, the recipe has {epochs}",
    )


def _missing(rank_file: RankFile) -> Iterator[Check]:
    """Only profiled examples have values."""
    absent = ~rank_file.profiled
    wrong = [
        name
        for name, values in rank_file.columns.items()
        if name in KNOWN_COLUMNS and not _absent_values(values[absent], KNOWN_COLUMNS[name])
    ]
    number = int(np.count_nonzero(absent))
    yield Check(
        "not profiled",
        not wrong,
        f"{number:,} examples" if not wrong else f"{number:,} examples, some with {wrong[0]}",
    )


def _absent_values(values: npt.NDArray[Any], column: Column) -> bool:
    if np.isnan(column.missing):
        return bool(np.isnan(values).all())
    return bool((values == column.missing).all())


def _ranges(rank_file: RankFile) -> Iterator[Check]:
    profiled = rank_file.profiled
    for name, values in rank_file.columns.items():
        column = KNOWN_COLUMNS.get(name)
        if column is None or name in ("position", "correct"):
            continue
        known = values[profiled]
        if known.size == 0:
            continue
        if known.dtype.kind == "f" and not np.isfinite(known).all():
            yield Check(f"range of {name}", False, "a profiled example has no finite value")
            continue
        low, high = float(known.min()), float(known.max())
        slack = _TOLERANCE if known.dtype.kind == "f" and name != "problematic_rank" else 0
        ok = low >= column.least - slack and high <= column.most + slack
        yield Check(f"range of {name}", ok, f"{low:g} to {high:g}")


_FROM_RECORD: dict[str, Callable[[scores.U8, int], npt.NDArray[Any]]] = {
    "instability": scores.instability,
    "first_learned": scores.first_learned,
    "forgetting": scores.forgetting_events,
}


def _record(rank_file: RankFile) -> Iterator[Check]:
    """The scores of each run follow from its packed record."""
    record = rank_file.columns.get("correct")
    if record is None:
        yield Check("record", True, "none in this file, so the scores are not recomputed")
        return
    profiled = rank_file.profiled
    for name, compute in _FROM_RECORD.items():
        if name not in rank_file.columns:
            continue
        differing = 0
        for run, epochs in enumerate(rank_file.provenance.epochs):
            width = scores.packed_width(epochs)
            packed = np.ascontiguousarray(record[profiled, run])
            try:
                computed = compute(packed[:, :width], epochs)
            except DataError as error:
                yield Check(f"{name} from the record", False, f"run {run}: {error.what}")
                return
            stated = rank_file.columns[name][profiled, run]
            differing += int(np.count_nonzero(stated != computed))
            differing += int(np.count_nonzero(packed[:, width:].any(axis=1)))
        yield Check(f"{name} from the record", differing == 0, _differ(differing))


def _early(rank_file: RankFile) -> Iterator[Check]:
    """EL2N follows from the norms of the runs' errors."""
    norms, stated = (rank_file.columns.get(name) for name in ("error_norm", "el2n"))
    if norms is None or stated is None:
        return
    profiled = rank_file.profiled
    computed = ranking.mean_over_runs(norms)
    differing = int(np.count_nonzero(stated[profiled] != computed[profiled]))
    yield Check("el2n from error_norm", differing == 0, _differ(differing))


def _aggregate(rank_file: RankFile) -> Iterator[Check]:
    """The aggregate rank follows from the columns that the runs are ranked by."""
    how = rank_file.provenance.aggregation
    if how == "column":
        yield _from_column(rank_file)
        return
    if how == "given":
        yield Check("rank", True, "aggregation given: not computed from these columns")
        return
    profiled = rank_file.profiled
    name = f"rank from {' and '.join(rank_file.provenance.rank_by)}"
    try:
        computed = aggregate_runs(rank_file.columns, profiled, rank_file.provenance)
    except DatacurateError as error:
        yield Check(name, False, error.what)
        return
    stated = rank_file.columns["problematic_rank"][profiled]
    differing = int(np.count_nonzero(stated != computed))
    yield Check(name, differing == 0, f"{how}: {_differ(differing)}")


def _from_column(rank_file: RankFile) -> Check:
    """The rank follows from the column that the file's source names."""
    source = rank_file.provenance.source
    column = source.get("column")
    if not isinstance(column, str):
        return Check("rank from its column", False, "the source names no column")
    try:
        computed = rank_of_column(rank_file, column, direction_of(rank_file, column))
    except DatacurateError as error:
        return Check("rank from its column", False, error.what)
    stated = rank_file.columns["problematic_rank"]
    profiled = rank_file.profiled
    differing = int(np.count_nonzero(stated[profiled] != computed[profiled]))
    return Check("rank from its column", differing == 0, f"{column}: {_differ(differing)}")


def _order(rank_file: RankFile) -> Iterator[Check]:
    """The positions follow from rank, probability and hash."""
    columns = rank_file.columns
    try:
        computed = ranking.rank(
            columns["problematic_rank"],
            rank_file.identity.label_fingerprint,
            probability=rank_file.probability,
            profiled=rank_file.profiled,
        )
    except DatacurateError as error:
        yield Check("position", False, error.what)
        return
    differing = int(np.count_nonzero(computed.position != columns["position"]))
    yield Check("position from rank and tie rule", differing == 0, _differ(differing))


def _differ(count: int) -> str:
    return "as recomputed" if count == 0 else f"{count:,} values differ"
