"""`datacurate align`: ranks → the same ranks for another order of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datacurate.cli import console
from datacurate.cli.options import Data, Force, Json
from datacurate.cli.sources import recorded_data


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
    """Carry ranks over to the same images in another order, found by the hash of their pixels.

    Says how many images are there more than once, are missing, or were never ranked.

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
    images = load_train(*recorded_data(ranks.identity.name, data), tell=console.note)
    parent = {"name": file.name, "sha256": sha256_file(file)}
    found = carry_over(ranks, images.identity, parent, images.stated_source)
    if found.missing:
        console.warn(f"missing: {found.missing:,} ranked images are not in this data")
    if found.foreign:
        console.warn(f"foreign: {found.foreign:,} images were never ranked and will not be kept")
    if found.relabelled:
        console.warn(f"relabelled: {found.relabelled:,} images were ranked under another label")
    if found.surplus:
        console.warn(f"surplus: {found.surplus:,} copies are more than were ranked")
    content = rankfile.write(out, found.rank_file, force)
    if as_json:
        console.print_json({"file": str(out), "content_sha256": content, **found.counts})
    else:
        console.say_out(
            f"{out}: ranks for {len(found.rank_file):,} images; {found.moved:,} moved, "
            f"{found.duplicates:,} duplicates, {found.missing:,} missing, {found.foreign:,} foreign"
        )
        console.note(f"next: datacurate prune {out} --keep 80% --out idx.npy")
