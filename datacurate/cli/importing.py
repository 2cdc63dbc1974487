"""`datacurate import`: make a rank file of ranks or scores of other software."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import load_arguments
from datacurate.importers.table import IMPORTERS, describe_importers


def import_file(
    file: Annotated[Path, typer.Argument(help="The file of the other software.")],
    *,
    kind: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help=describe_importers(),
            autocompletion=lambda: list(IMPORTERS),
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="The data set of the ranks, as for `profile`.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write.", show_default=False)
    ],
    data: Data = None,
    direction: Annotated[
        Literal["high", "low"] | None,
        typer.Option(help="Which end of scores is problematic.", show_default=False),
    ] = None,
    never: Annotated[
        float | None,
        typer.Option(
            metavar="COUNT",
            help="The forgetting count that means never learned, beside -1 and infinity.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the file came from.", show_default=False)
    ] = "",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a rank file of ranks or scores that other software computed.

    With --data the file carries the hashes of the images, so that it is never joined
    with others.

    Example: datacurate import prob_rank.npy --from upstream --dataset cifar10 --data ~/data/cifar10
    --out up.ranks.h5
    """
    from datacurate import importing
    from datacurate.errors import FileError
    from datacurate.formats import rankfile
    from datacurate.outputs import refuse_existing
    from datacurate.pruning import describe_ranks

    refuse_existing(out, force)
    if out.resolve() == file.resolve():
        raise FileError(f"{out} is the file to import", hint="choose another --out")
    identity = importing.identity_for(*load_arguments(dataset, data), tell=console.note)
    ranks = importing.import_ranks(file, kind, identity, direction=direction, never=never, url=url)
    if identity.content_hash is None:
        console.warn(
            "made without images, so nothing can check that data is in the order of these ranks; "
            "--data DIR adds the hashes of the images"
        )
    content = rankfile.write(out, ranks, force)
    source = dict(ranks.provenance.source)
    if as_json:
        console.print_json({"file": str(out), "content_sha256": content, "source": source})
    else:
        order = f"{source['column']} {source['problematic']}" if "column" in source else "as given"
        console.say_out(f"{out}: {describe_ranks(ranks)}; problematic: {order}")
        console.note(f"Next: datacurate prune {out} --keep 80% --out idx.npy")
