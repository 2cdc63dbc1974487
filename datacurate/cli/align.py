"""`datacurate align`: carry ranks over to another order of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import load_arguments


def align(
    file: Annotated[Path, typer.Argument(help="A rank file that was made with images.")],
    *,
    data: Data = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write.", show_default=False)
    ],
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Carry ranks over to the same images in another order, matched by the hash of their pixels.

    Print how many images are duplicates, are missing, or were never ranked.

    Example: datacurate align cifar10.ranks.h5 --data ~/data/shuffled --out mine.ranks.h5
    """
    from datacurate.data import load_train
    from datacurate.errors import FileError
    from datacurate.fingerprints import sha256_file
    from datacurate.formats import rankfile
    from datacurate.formats.aligning import align as carry_over
    from datacurate.outputs import refuse_existing

    refuse_existing(out, force)
    if out.resolve() == file.resolve():
        raise FileError(f"{out} is the rank file itself", hint="choose another --out")
    ranks = rankfile.read(file)
    images = load_train(*load_arguments(ranks.identity.name, data), tell=console.note)
    parent = {"name": file.name, "sha256": sha256_file(file)}
    result = carry_over(ranks, images.identity, parent, images.stated_source)
    if result.missing:
        console.warn(f"missing: {result.missing:,} ranked images are not in this data")
    if result.foreign:
        console.warn(f"foreign: {result.foreign:,} images were never ranked and will not be kept")
    if result.relabelled:
        console.warn(f"relabelled: {result.relabelled:,} images were ranked under another label")
    if result.surplus:
        console.warn(f"surplus: {result.surplus:,} more copies than were ranked")
    content = rankfile.write(out, result.rank_file, force)
    if as_json:
        console.print_json({"file": str(out), "content_sha256": content, **result.counts})
    else:
        console.say_out(
            f"{out}: ranks for {len(result.rank_file):,} images; {result.moved:,} moved, "
            f"{result.duplicates:,} duplicates, {result.missing:,} missing, "
            f"{result.foreign:,} foreign"
        )
        console.note(f"Next: datacurate prune {out} --keep 80% --out idx.npy")
