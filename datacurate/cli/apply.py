"""`datacurate apply`: write the pruned data set of an index list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import load_arguments


def apply(
    indices: Annotated[Path, typer.Argument(help="An index file or mask made by `prune`.")],
    *,
    data: Data = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The directory to write.", show_default=False),
    ],
    form: Annotated[
        Literal["folder", "parquet", "npz"] | None,
        typer.Option(
            "--format",
            help="Folders of links, Parquet or .npz; by default the format of the data, or .npz.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the pruned data set: the images that an index file keeps, and the test split.

    Refuses data other than the data that the index file was made for.

    Example: datacurate apply idx.npy --data ~/data/birds --out birds-pruned
    """
    from datacurate import applying
    from datacurate.data import load
    from datacurate.data.locate import locate
    from datacurate.formats import indexfile
    from datacurate.outputs import refuse_existing_directory

    index = indexfile.read(indices)
    # Refuse an output that cannot be written before the work, not after it.
    refuse_existing_directory(out, applying.MARK, force)
    arguments = load_arguments(index.dataset.name, data)
    images = load(*arguments, tell=console.note)
    written_form, match = applying.apply(
        index,
        images,
        locate(*arguments).layout,
        out,
        form=form,
        name=f"the rows in {indices}",
        force=force,
    )
    if match.warning is not None:
        console.warn(match.warning)
    if as_json:
        console.print_json(
            {
                "directory": str(out),
                "form": written_form,
                "kept": len(index.kept),
                "of": len(images.train),
            }
        )
    else:
        console.say_out(
            f"{out}: {len(index.kept):,} of {len(images.train):,} images, {written_form}"
        )
