"""`datacurate prune`: choose the examples to keep, by their ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import find_ranks, prune_source
from datacurate.selection.samplers import DEFAULT, SAMPLERS, describe_samplers

if TYPE_CHECKING:
    from datacurate.formats.indexfile import Form, IndexFile

_MOST_ROWS = 20  # with more classes, the table shows those that lose most


def prune(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A rank file or published ranks; by default the only *.ranks.h5 in this "
            "directory, else the published cifar10.",
            show_default=False,
        ),
    ] = None,
    *,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="AMOUNT",
            help="How many to keep: 40000, 0.8 or 80%. 1 is one example, 1.0 all of them.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write.")] = Path(
        "idx.npy"
    ),
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="The column of the rank file that orders the examples, such as aum.",
        ),
    ] = "problematic_rank",
    direction: Annotated[
        Literal["high", "low"] | None,
        typer.Option(
            help="Which end of that column is problematic; by default as the file states.",
            show_default=False,
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=describe_samplers(), autocompletion=lambda: list(SAMPLERS)
        ),
    ] = DEFAULT,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Keep equally many of each class.")
    ] = False,
    floor: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Keep at least this amount of each class: 1000, 0.5 or 50%.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of a strategy that draws at random.", min=0)] = 0,
    form: Annotated[
        Literal["index", "mask", "csv"] | None,
        typer.Option(
            "--format",
            help="Rows as int64, a boolean mask, or CSV; by default CSV for FILE.csv, else rows.",
            show_default=False,
        ),
    ] = None,
    data: Data = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose the examples to train on from the ranks of a data set.

    Writes the rows to keep, for torch.utils.data.Subset, and beside them FILE.json,
    which says whose ranks these are and for which data.

    Example: datacurate prune cifar10.ranks.h5 --keep 40000 --out idx.npy
    """
    from datacurate.errors import FileError
    from datacurate.formats import indexfile

    # Refuse an output that cannot be written before the work, not after it.
    indexfile.refuse_existing_pair(out, force)
    ranks = find_ranks(source)
    if out.resolve() == ranks.path.resolve():
        raise FileError(f"{out} is the rank file itself", hint="choose another --out")
    index = prune_source(
        ranks,
        keep,
        data,
        by=by,
        direction=direction,
        strategy=strategy,
        balanced=balanced,
        floor=floor,
        seed=seed,
    )
    chosen: Form = form or ("csv" if out.suffix == ".csv" else "index")
    indexfile.write(out, index, chosen, force)
    if as_json:
        console.print_json(_result(out, index, chosen))
    else:
        _print(out, index, ranks.name)


def _result(out: Path, index: IndexFile, form: Form) -> dict[str, Any]:
    return {
        "file": str(out),
        "form": form,
        "kept": len(index.kept),
        "of": sum(row["before"] for row in index.classes),
        "selection": dict(index.selection),
        "source": dict(index.source),
        "classes": [dict(row) for row in index.classes],
        "data_check": index.data_check,
        "warnings": list(index.warnings),
    }


def _print(out: Path, index: IndexFile, name: str) -> None:
    ranked = sum(row["before"] for row in index.classes)
    console.print_table(_classes_table(index))
    tied = index.selection["tied_by_probability"], index.selection["tied_by_hash"]
    console.say_out(
        f"{out}: {len(index.kept):,} of {ranked:,} kept ({index.selection['strategy']}, "
        f"ranks of {name}); decided by ties: {tied[0]:,} by probability, {tied[1]:,} by hash"
    )
    console.note(f"check: {index.data_check}")


def _classes_table(index: IndexFile) -> Any:
    from rich.table import Table
    from rich.text import Text

    rows = [row for row in index.classes if row["before"]]
    title = None
    if len(rows) > _MOST_ROWS:
        rows.sort(key=lambda row: row["after"] / row["before"])
        title = f"the {_MOST_ROWS} of {len(rows)} classes that lose most"
        rows = rows[:_MOST_ROWS]
    table = Table("class", title=title, title_justify="left", box=None)
    for heading in ("before", "after", "dropped"):
        table.add_column(heading, justify="right")
    for row in rows:
        dropped = 1 - row["after"] / row["before"]
        table.add_row(
            Text(row["name"]), f"{row['before']:,}", f"{row['after']:,}", f"{dropped:.1%}"
        )
    return table
