"""All steps on data that ships with a dependency: plant wrong labels, find them, prune them.

It plants wrong labels among scikit-learn's 8×8 digits, profiles, prunes a tenth of the examples,
and verifies. Two minutes on two cores; nothing is faked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datacurate import profiling, verification
from datacurate.data import load
from datacurate.data.corruption import flip_labels
from datacurate.formats import indexfile
from datacurate.formats.rankfile import RankFile
from datacurate.pruning import prune
from datacurate.recipes import PROFILE_RECIPES, VERIFY_RECIPES

FLIPPED = 0.05
KEEP_FRACTION = 0.9
_SEED = 0


@dataclass(frozen=True)
class Demo:
    """The result of the demo.

    Attributes
    ----------
    ranks : RankFile
    planted : int
        Number of planted wrong labels.
    caught : int
        How many of them are among the `planted` most problematic examples.
    dropped_planted : int
        How many of them were pruned.
    dropped : int
        Number of pruned examples.
    verification : Verification
    """

    ranks: RankFile
    planted: int
    caught: int
    dropped_planted: int
    dropped: int
    verification: verification.Verification


def demo(
    directory: Path,
    *,
    force: bool = False,
    on_profile: Callable[[profiling.ProfileProgress], None] | None = None,
    on_verify: Callable[[verification.VerificationProgress], None] | None = None,
) -> Demo:
    """Run the demo and write its files into a directory.

    Parameters
    ----------
    directory : Path
        Created if missing; receives ``digits.ranks.h5``, ``idx.npy``, ``verify.json`` and
        ``verify.md``.
    force : bool
        Replace what is there.
    on_profile, on_verify : callable, optional

    Raises
    ------
    OutputExistsError
        If the files are there already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    data, planted = flip_labels(load("digits"), FLIPPED, _SEED)
    ranks_path = directory / f"digits{profiling.RANKS_SUFFIX}"
    index_path = directory / "idx.npy"
    record_path = directory / "verify.json"
    indexfile.refuse_existing_pair(index_path, force)
    ranks = profiling.profile(
        PROFILE_RECIPES["demo"], data, ranks_path, force=force, on_epoch=on_profile
    )
    index = prune(ranks, round(KEEP_FRACTION * len(data.trainable)), name=ranks_path.name)
    indexfile.write(index_path, index, force=force)
    verified = verification.verify(
        VERIFY_RECIPES["demo"],
        data,
        {
            verification.KEPT_ARM: verification.GivenRows(
                index.kept, {"file": index_path.name, "selection": dict(index.selection)}
            )
        },
        record_path,
        force=force,
        on_progress=on_verify,
    )
    position = ranks.columns["position"]
    top = np.flatnonzero(position >= len(data.trainable) - len(planted))
    dropped = np.setdiff1d(data.trainable, index.kept)
    return Demo(
        ranks=ranks,
        planted=len(planted),
        caught=len(np.intersect1d(top, planted)),
        dropped_planted=len(np.intersect1d(dropped, planted)),
        dropped=len(dropped),
        verification=verified,
    )
