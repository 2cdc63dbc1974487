"""Prune: from ranks to the rows that are kept, with what that does to each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datacurate.errors import DataError
from datacurate.formats.digest import digest_of
from datacurate.formats.indexfile import IndexFile
from datacurate.formats.ordering import RANK, Direction, direction_of, rank_by
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Match
from datacurate.selection.samplers import DEFAULT, sampler_named
from datacurate.selection.select import select

TIE_RULE = "mean adversarial true-class probability, then hash of row and label fingerprint"
NOT_COMPARED = "the ranks were not compared with any data"
NO_CLASSES = "(classes unknown)"
UNSEEN_CLASSES = (
    "these ranks have no labels, so the effect on each class is unknown; "
    "add the images with --data DIR"
)

_GUTTED = 1 / 3  # no warning for a class that loses a smaller share
_DISPROPORTION = 1.5


def prune(
    rank_file: RankFile,
    keep: int,
    *,
    by: str = RANK,
    direction: Direction | None = None,
    strategy: str = DEFAULT,
    balanced: bool = False,
    floor: str | None = None,
    seed: int = 0,
    name: str = "",
    match: Match | None = None,
    noted: Sequence[str] = (),
) -> IndexFile:
    """Return which examples of a ranked data set to keep.

    The parameters are those of the command, so there are more than eight.

    Parameters
    ----------
    rank_file : RankFile
    keep : int
        From 1 to the number of profiled examples.
    by : str
        The column that orders the examples; see `datacurate.formats.ordering.rank_by`.
    direction : str, optional
        Which end of it is problematic; by default as the format or the file states.
    strategy, balanced, floor, seed
        As for `datacurate.selection.select.select`.
    name : str
        Name of the rank file, for the index file and messages.
    match : Match, optional
        How its data relates to the data at hand, if they were compared.
    noted : sequence of str
        More warnings, such as that other ranks were used in place of those named.

    Raises
    ------
    UsageError
        If there are too few examples, in a class or in total, or if it is unknown which end of the
        column is problematic.
    UnknownNameError
        If there is no such column of scores.
    DataError
        If the ranks do not order the examples, or if classes matter and are unknown.
    """
    identity = rank_file.identity
    if (balanced or floor is not None) and not identity.labelled:
        raise DataError(
            f"{name or 'these ranks'} do not know the class of each example",
            expected="labels, which --balanced and --floor need",
            got=f"only the fingerprint of the labels of {identity.name}",
            hint="give the images that the ranks were made from: --data DIR",
        )
    labels, names = identity.labels, identity.class_names
    if not identity.labelled:
        labels, names = np.zeros(len(identity), dtype=np.int64), (NO_CLASSES,)
    end = direction or direction_of(rank_file, by)
    plain = by == RANK and end == "high"
    selection = select(
        rank_file.ranking() if plain else rank_by(rank_file, by, end),
        keep,
        labels,
        strategy=strategy,
        balanced=balanced,
        floor=floor,
        seed=seed,
        class_names=names,
    )
    before = np.bincount(labels[rank_file.profiled], minlength=len(names))
    after = np.bincount(labels[selection.kept], minlength=len(names))
    classes = tuple(
        {"name": class_name, "before": had, "after": has}
        for class_name, had, has in zip(names, before.tolist(), after.tolist(), strict=True)
    )
    warnings = list(noted)
    if match is not None and match.warning is not None:
        warnings.append(match.warning)
    if not identity.labelled:
        warnings.append(UNSEEN_CLASSES)
    return IndexFile(
        kept=selection.kept,
        dataset=digest_of(identity),
        selection={
            "by": by,
            "direction": end,
            "strategy": strategy,
            "balanced": balanced,
            "floor": floor,
            "seed": seed if sampler_named(strategy).uses_seed else None,
            "tie_rule": TIE_RULE,
            "tied_by_probability": selection.tied_by_probability,
            "tied_by_hash": selection.tied_by_hash,
        },
        source=_source(rank_file, name),
        classes=classes,
        data_check=NOT_COMPARED if match is None else f"{match.relation.value}: {match.detail}",
        warnings=(*warnings, *gutted_classes(classes)),
    )


def gutted_classes(classes: tuple[Mapping[str, Any], ...]) -> list[str]:
    """Return a warning for every class that loses out of proportion.

    Such a class loses at least a third of its examples. It also loses more than 1.5 times the share
    that all classes lose, or keeps less than 1/1.5 of the share that all classes keep.

    Parameters
    ----------
    classes : tuple of mapping
        ``name``, ``before`` and ``after`` of each class.
    """
    had = sum(row["before"] for row in classes)
    kept = sum(row["after"] for row in classes) / max(had, 1)
    lines = []
    for row in classes:
        if row["before"] == 0:
            continue
        share = row["after"] / row["before"]
        lost = 1 - share
        out_of_proportion = lost > _DISPROPORTION * (1 - kept) or share < kept / _DISPROPORTION
        if lost >= _GUTTED and out_of_proportion:
            lines.append(
                f"{row['name']} loses {lost:.0%} of its examples, all classes together "
                f"{1 - kept:.0%}; --balanced or --floor would spare it"
            )
    return lines


def describe_ranks(rank_file: RankFile) -> str:
    """Return one line that says where ranks come from."""
    provenance = rank_file.provenance
    recipe = provenance.recipe or {}
    made = f"recipe {recipe.get('name', '?')} {provenance.recipe_hash}, " if recipe else ""
    runs = f"{rank_file.runs} run{'' if rank_file.runs == 1 else 's'}, " if rank_file.runs else ""
    return (
        f"{provenance.kind} of {rank_file.identity.name} {rank_file.identity.split} "
        f"({len(rank_file):,} examples), {made}{runs}{provenance.aggregation}, "
        f"{provenance.created or 'undated'}"
    )


def _source(rank_file: RankFile, name: str) -> dict[str, Any]:
    provenance = rank_file.provenance
    recipe = provenance.recipe or {}
    return {
        "file": name,
        "content_sha256": rank_file.content_sha256,
        "kind": provenance.kind,
        "recipe": recipe.get("name"),
        "recipe_hash": provenance.recipe_hash,
        "runs": rank_file.runs,
        "aggregation": provenance.aggregation,
        "created": provenance.created,
        "described": describe_ranks(rank_file),
    }
