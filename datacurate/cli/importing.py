"""`datacurate import`: ranks and scores of other software → a rank file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import recorded_data


def import_file(
    file: Annotated[Path, typer.Argument(help="What the other software wrote.")],
    *,
    kind: Annotated[
        Literal["upstream", "forgetting", "el2n", "aum", "cartography", "scores"],
        typer.Option(
            "--from",
            help="The authors' .npy; a forgetting .pkl or .npy; an EL2N .npy; aum_values.csv; "
            "cartography .jsonl; scores as .npy or .csv.",
            show_default=False,
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="What the ranks are of: a data set as for `profile`.",
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
            help="The forgetting count that stands for never learned, beside -1 and infinity.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the file is from.", show_default=False)
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
    identity = importing.identity_for(*recorded_data(dataset, data), tell=console.note)
    ranks = importing.import_ranks(file, kind, identity, direction=direction, never=never, url=url)
    if identity.content_hash is None:
        console.warn(
            "made without images: nothing will tell whether they are in the order of these ranks; "
            "--data DIR attaches their hashes"
        )
    content = rankfile.write(out, ranks, force)
    source = dict(ranks.provenance.source)
    if as_json:
        console.print_json({"file": str(out), "content_sha256": content, "source": source})
    else:
        order = f"{source['column']} {source['problematic']}" if "column" in source else "as given"
        console.say_out(f"{out}: {describe_ranks(ranks)}; problematic: {order}")
        console.note(f"next: datacurate prune {out} --keep 80% --out idx.npy")
