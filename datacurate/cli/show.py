"""`datacurate show`: what is in a rank file or an index file, and whether it is consistent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datacurate.cli import console
from datacurate.cli.options import Force, Json

if TYPE_CHECKING:
    from datacurate.formats.indexfile import IndexFile
    from datacurate.formats.rankfile import RankFile

_BINS = 10
_BAR = 40  # characters of the longest bar


def show(
    file: Annotated[Path, typer.Argument(help="A rank file (.ranks.h5) or an index file (.npy).")],
    check: Annotated[
        bool, typer.Option("--check", help="Recompute everything; exit 1 if anything differs.")
    ] = False,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Write this column to a file.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.npy", help="Where to write the column.", show_default=False
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show where ranks come from, their distribution and their ties.

    Example: datacurate show cifar10.ranks.h5 --check
    """
    if file.suffix == ".npy":
        from datacurate.formats import indexfile

        # Reading an index file already checks everything.
        index = indexfile.read(file)
        if as_json:
            console.print_json(_index_summary(index))
        else:
            _say(_index_lines(file, index))
        return
    if check:
        _check(file, as_json)
        return
    if column is not None or out is not None:
        _export(file, column, out, force)
        return
    from datacurate.formats import rankfile

    ranks = rankfile.read(file)
    if as_json:
        console.print_json(_summary(ranks))
    else:
        _say(_lines(file, ranks))


def _export(file: Path, column: str | None, out: Path | None, force: bool) -> None:
    """Write one column as a plain array for other software."""
    import numpy as np

    from datacurate.errors import FileError, UsageError
    from datacurate.formats import rankfile
    from datacurate.outputs import atomic_path, refuse_existing

    if column is None or out is None:
        raise UsageError("--column and --out go together", hint="--column aum --out aum.npy")
    refuse_existing(out, force)
    if out.resolve() == file.resolve():
        raise FileError(f"{out} is the rank file itself", hint="choose another --out")
    rankfile.require_column(file, column)
    values = rankfile.file_columns(rankfile.read(file, columns=(column,)))[column]
    with atomic_path(out) as temporary, temporary.open("wb") as stream:
        np.save(stream, values, allow_pickle=False)
    console.say_out(f"{out}: {column}, {values.dtype} {values.shape}")


def _check(file: Path, as_json: bool) -> None:
    """Print the results of all checks; raise for the first one that failed."""
    from datacurate.errors import FileError
    from datacurate.formats.checking import check

    found = check(file)
    if as_json:
        console.print_json([vars(item) for item in found])
    else:
        _say(f"{'ok   ' if item.ok else 'FAILS'}  {item.name}: {item.detail}" for item in found)
    for item in found:
        if not item.ok:
            raise FileError(
                f"{file} is inconsistent: {item.name}",
                got=item.detail,
                hint="do not use it; get it again from its source",
            )


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        console.say_out(line)


def _summary(ranks: RankFile) -> dict[str, Any]:
    from datacurate.ranks.ranking import count_ties

    identity, provenance = ranks.identity, ranks.provenance
    return {
        "dataset": {
            "name": identity.name,
            "split": identity.split,
            "examples": len(identity),
            "classes": identity.classes,
            "shape": list(identity.shape),
            "label_fingerprint": identity.label_fingerprint,
            "pixel_fingerprint": identity.pixel_fingerprint,
        },
        "kind": provenance.kind,
        "created": provenance.created,
        "recipe": provenance.recipe,
        "recipe_hash": provenance.recipe_hash,
        "aggregation": provenance.aggregation,
        "rank_by": list(provenance.rank_by) if provenance.of_runs else [],
        "runs": [dict(run) for run in provenance.runs],
        "environment": dict(provenance.environment),
        "source": dict(provenance.source),
        "parents": [dict(parent) for parent in provenance.parents],
        "columns": {name: str(values.dtype) for name, values in ranks.columns.items()},
        "content_sha256": ranks.content_sha256,
        "profiled": int(ranks.profiled.sum()),
        "ties": vars(count_ties(ranks.ranking())),
        "instability": _histogram(ranks),
    }


def _histogram(ranks: RankFile) -> list[int] | None:
    """Return how many profiled examples fall into each tenth of the mean learning instability."""
    import numpy as np

    from datacurate.ranks.ranking import mean_over_runs

    if "instability" not in ranks.columns:
        return None
    mean = mean_over_runs(ranks.columns["instability"][ranks.profiled])
    counts: list[int] = np.histogram(mean, bins=_BINS, range=(0, 1))[0].tolist()
    return counts


def _lines(file: Path, ranks: RankFile) -> Iterator[str]:
    summary = _summary(ranks)
    identity, provenance, ties = ranks.identity, ranks.provenance, summary["ties"]
    height, width, channels = identity.shape
    pixels = f"{height}×{width}×{channels}" if height else "made without images"
    yield f"{file}: ranks, {provenance.kind}, {provenance.created or 'undated'}"
    yield (
        f"data set     {identity.name} {identity.split}, {len(identity):,} examples, "
        f"{identity.classes} classes, {pixels}"
    )
    yield f"             labels {identity.label_fingerprint[:16]}"
    yield f"             pixels {identity.pixel_fingerprint[:16] or 'unknown'}"
    of = f" of {' and '.join(provenance.rank_by)}" if provenance.of_runs else ""
    yield f"ranked       {ties['examples']:,} examples by {provenance.aggregation}{of}"
    yield (
        f"ties         {ties['distinct']:,} different ranks; {ties['by_probability']:,} examples "
        f"ordered by probability, {ties['by_hash']:,} by hash"
    )
    if provenance.recipe is not None:
        name = provenance.recipe.get("name")
        yield f"recipe       {name} {provenance.recipe_hash}"
        yield from (f"             {line}" for line in _settings(provenance.recipe))
    for number, run in enumerate(provenance.runs):
        yield f"run {number:<8} {_run_line(run)}"
    for title, values in (("environment", provenance.environment), ("source", provenance.source)):
        if values:
            yield f"{title:<12} {_pairs(values)}"
    for parent in provenance.parents:
        yield f"parent       {_pairs(parent)}"
    yield f"content      sha256 {ranks.content_sha256}"
    if summary["instability"] is not None:
        yield "learning instability, mean over runs"
        yield from _bars(summary["instability"])


def _settings(recipe: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield a line for every group of fields of a recipe."""
    plain = {k: v for k, v in recipe.items() if not isinstance(v, Mapping)}
    if prefix and plain:
        yield f"{prefix}: {_pairs(plain)}"
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{prefix}.{key}" if prefix else key)


def _run_line(run: Mapping[str, Any]) -> str:
    """Return a run in one line: common facts first, accuracies in percent."""
    said = []
    for key in ("seed", "epochs", "best_epoch"):
        if key in run:
            said.append(f"{key.replace('_', ' ')} {run[key]}")
    for key in ("clean_accuracy", "robust_accuracy"):
        if isinstance(run.get(key), int | float):
            said.append(f"{key.partition('_')[0]} {run[key]:.2%}")
    if isinstance(run.get("seconds"), int | float):
        said.append(f"{run['seconds']:,.0f} s")
    return ", ".join(said)


def _bars(counts: list[int]) -> Iterator[str]:
    most = max(*counts, 1)
    for place, count in enumerate(counts):
        low, high = place / len(counts), (place + 1) / len(counts)
        bar = "█" * round(_BAR * count / most)
        yield f"  {low:.1f} to {high:.1f} {count:>10,}  {bar}"


def _pairs(values: Mapping[str, Any]) -> str:
    # JSON escapes control characters that a foreign file may contain.
    return ", ".join(f"{key} {json.dumps(value).strip(chr(34))}" for key, value in values.items())


def _index_summary(index: IndexFile) -> dict[str, Any]:
    from datacurate.formats.digest import as_json

    return {
        "kept": len(index.kept),
        "dataset": {k: v for k, v in as_json(index.dataset).items() if k != "sample"},
        "selection": dict(index.selection),
        "source": dict(index.source),
        "classes": [dict(row) for row in index.classes],
        "data_check": index.data_check,
        "warnings": list(index.warnings),
        "created": index.created,
    }


def _index_lines(file: Path, index: IndexFile) -> Iterator[str]:
    from datacurate.formats.digest import describe_digest

    yield f"{file}: {len(index.kept):,} of {index.dataset.examples:,} rows kept, {index.created}"
    yield f"data set     {describe_digest(index.dataset)}"
    yield f"ranks        {_pairs(index.source)}"
    yield f"selection    {_pairs(index.selection)}"
    yield f"data check   {index.data_check}"
    for row in index.classes:
        yield f"class        {row['name']}: {row['after']:,} of {row['before']:,}"
    for line in index.warnings:
        yield f"warning      {line}"
