"""`datacurate publish`: publish your ranks on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datacurate.cli import console
from datacurate.cli.options import Force, Json


def publish(
    file: Annotated[Path, typer.Argument(help="NAME.ranks.h5; others fetch it as NAME.")],
    *,
    repo: Annotated[
        str,
        typer.Option(
            "--repo", metavar="OWNER/NAME", help="A data set repository.", show_default=False
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the files to a folder and send nothing.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder of a dry run; by default NAME-bundle.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace other ranks of the same name.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="ID",
            help="Licence for the card, such as cc-by-4.0.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Put ranks on the Hugging Face Hub with a card, metadata and hashes, in one commit.

    The token comes from HF_TOKEN or `hf auth login`. The file is checked completely first.

    Example: datacurate publish cifar10.ranks.h5 --repo me/cifar10-ranks --dry-run
    """
    from datacurate.errors import UsageError
    from datacurate.publishing import bundle
    from datacurate.publishing.publish import publish as send
    from datacurate.remote.registry import check_repository

    check_repository(repo)
    if not dry_run:
        if out is not None:
            raise UsageError("--out is only for a dry run", hint="add --dry-run")
        publication = send(
            file, repo, private=private, replace=replace, licence=licence, tell=console.note
        )
        if as_json:
            console.print_json({**vars(publication), "fetched_by": publication.fetched_by})
        else:
            console.say_out(f"{repo}: {len(publication.files)} files, commit {publication.commit}")
            console.say_out(publication.fetched_by)
        return
    folder = out or Path(file.name.removesuffix(".ranks.h5") + "-bundle")
    written = bundle.write_bundle(
        file, repo, folder, licence=licence, force=force, tell=console.note
    )
    if as_json:
        console.print_json(
            {"folder": str(folder), "files": list(written.files), "name": written.name}
        )
    else:
        for path in written.files:
            console.say_out(str(folder / path))
