"""`datacurate fetch`: download published ranks by name and check them."""

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
        typer.Argument(help="Name of published ranks; without it, list them.", show_default=False),
    ] = None,
    *,
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="OWNER/NAME",
            help="A data set repository on the Hub with NAME.ranks.h5.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            help="A branch, tag or commit of the repository.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Copy the ranks to FILE; by default they stay in the cache.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Get published ranks, check them, and print their path.

    `prune` fetches ranks itself if you give it a name. Use `fetch` to look at ranks, to copy
    them, or to get ranks that are not in the list.

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
        fetched = fetching.fetch_from(repo, name, revision, tell=console.note)
    elif revision is not None:
        fetched = fetching.fetch_revision(name, revision, tell=console.note)
    else:
        fetched = fetching.fetch(name, tell=console.note)
    ranks = rankfile.read(fetched.path)
    path = fetched.path
    if out is not None:
        with atomic_path(out) as temporary:
            shutil.copyfile(fetched.path, temporary)
        path = out
    if as_json:
        console.print_json(
            {
                "name": fetched.name,
                "file": str(path),
                "origin": fetched.origin,
                "content_sha256": fetched.content_sha256,
                "described": pruning.describe_ranks(ranks),
            }
        )
        return
    console.say_out(str(path))
    console.note(f"{fetched.name}: {pruning.describe_ranks(ranks)}")
    console.note(f"from {fetched.origin}, content sha256 {fetched.content_sha256}")


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
    console.note(
        "agreement: Spearman's correlation with the ranks that the paper's authors published"
    )


def _entry(entry: Entry) -> dict[str, Any]:
    values = dataclasses.asdict(entry)
    values["sources"] = [
        {key: value for key, value in source.items() if value} for source in values["sources"]
    ]
    return values
