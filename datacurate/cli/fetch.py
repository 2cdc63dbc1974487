"""`datacurate fetch`: published ranks, checked, by name."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datacurate.cli import console
from datacurate.cli.options import Force, Json

if TYPE_CHECKING:
    from datacurate.remote.registry import Entry


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="Published ranks; without it, a list of them.", show_default=False),
    ] = None,
    *,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="OWNER/NAME",
            help="A data set repository on the Hub that holds NAME.ranks.h5.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="A branch, tag or commit of it.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Copy it here; else it stays in the cache.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Get published ranks, check them, and say where they lie.

    `prune` fetches by itself when it is given a name; this is for looking at ranks, for
    a copy, and for ranks that are not in the list.

    Example: datacurate fetch cifar10 --out cifar10.ranks.h5
    """
    from datacurate import pruning
    from datacurate.errors import UsageError
    from datacurate.formats import rankfile
    from datacurate.outputs import atomic_path, refuse_existing
    from datacurate.publishing import fetching

    if name is None:
        if repo is not None or revision is not None or out is not None:
            raise UsageError("--repo, --revision and --out need a NAME", hint="datacurate fetch")
        _list(list(fetching.published_entries().values()), as_json)
        return
    if out is not None:
        refuse_existing(out, force)
    if repo is not None:
        found = fetching.fetch_from(repo, name, revision, tell=console.note)
    elif revision is not None:
        found = fetching.fetch_revision(name, revision, tell=console.note)
    else:
        found = fetching.fetch(name, tell=console.note)
    ranks = rankfile.read(found.path)
    place = found.path
    if out is not None:
        with atomic_path(out) as temporary:
            shutil.copyfile(found.path, temporary)
        place = out
    if as_json:
        console.print_json(
            {
                "name": found.name,
                "file": str(place),
                "origin": found.origin,
                "content_sha256": found.content_sha256,
                "described": pruning.describe_ranks(ranks),
            }
        )
        return
    console.say_out(str(place))
    console.note(f"{found.name}: {pruning.describe_ranks(ranks)}")
    console.note(f"from {found.origin}, content sha256 {found.content_sha256}")


def _list(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        console.print_json([_entry(entry) for entry in entries])
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("name", "data set", "recipe"):
        table.add_column(heading)
    for heading in ("runs", "agreement", "size"):
        table.add_column(heading, justify="right")
    table.add_column("source")
    for entry in entries:
        first = entry.sources[0]
        table.add_row(
            entry.name,
            f"{entry.dataset} {entry.split}, {entry.examples:,}",
            entry.recipe,
            str(entry.runs),
            "" if entry.agreement is None else f"{entry.agreement:.3f}",
            f"{first.size / 1e3:,.0f} kB",
            first.short,
        )
    console.print_table(table)
    console.note("agreement: Spearman's correlation with the ranks the paper's authors published")


def _entry(entry: Entry) -> dict[str, Any]:
    values = dataclasses.asdict(entry)
    values["sources"] = [
        {key: value for key, value in source.items() if value} for source in values["sources"]
    ]
    return values
