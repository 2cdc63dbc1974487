"""How far ranks agree: their runs with each other, and all of it with published ranks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from datacurate.errors import DatacurateError
from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.identity import relate
from datacurate.notices import Notify
from datacurate.publishing.fetching import fetch, from_copy, listed
from datacurate.ranks.agreement import agreement, agreement_by_class
from datacurate.ranks.comparison import Comparison, compare

KEPT_SHARE = 0.8
"""The share of examples that the comparison would keep: the paper's 40,000 of CIFAR-10."""


@dataclass(frozen=True)
class PublishedRanks:
    """Ranks that others may be compared with.

    Attributes
    ----------
    name : str
        In the registry.
    origin : str
        Their place, pinned.
    ranks : RankFile
    """

    name: str
    origin: str
    ranks: RankFile


@dataclass(frozen=True)
class Agreed:
    """How far ranks agree with published ones.

    Attributes
    ----------
    overall : Comparison
        With `KEPT_SHARE` of the examples kept.
    classes : mapping of str to float
        Spearman's correlation within each class, in [−1, 1]; NaN where a score is constant. Empty
        where the classes are not known.
    """

    overall: Comparison
    classes: dict[str, float]


def published(name: str, copy: Path | None = None, *, tell: Notify | None = None) -> PublishedRanks:
    """Return published ranks to compare with.

    Parameters
    ----------
    name : str
        In the registry.
    copy : Path, optional
        A copy of the authors' array on this machine; else the ranks are fetched.
    tell : callable, optional
        Called with lines for people.

    Raises
    ------
    UnknownNameError
        If the registry has no such name.
    FileError
        If the copy is not the file that the registry pins.
    FetchError
        If they cannot be fetched.
    """
    if copy is not None:
        ranks, origin = from_copy(name, copy)
        return PublishedRanks(name, origin, ranks)
    found = fetch(name, tell=tell)
    return PublishedRanks(name, found.origin, rankfile.read(found.path))


def agreed(ranks: RankFile, other: PublishedRanks) -> Agreed:
    """Compare ranks with published ones of the same examples.

    Raises
    ------
    DataError
        If they are of different data or share no example.
    """
    both = ranks.ranking(), other.ranks.ranking()
    identity = ranks.identity
    overall = compare(*both, keep=round(KEPT_SHARE * int(ranks.profiled.sum())))
    by_class = agreement_by_class(*both, identity.labels) if identity.labelled else {}
    names = identity.class_names
    return Agreed(overall, {names[label]: each.spearman for label, each in by_class.items()})


def comparable(ranks: RankFile, tell: Notify) -> PublishedRanks | str | None:
    """Return the published ranks of the same data, or why they are not compared with, or None.

    None where the registry has no ranks of the name of this data.
    """
    name = ranks.identity.name
    if name not in listed():
        return None
    try:
        other = published(name, tell=tell)
    except DatacurateError as error:
        tell(f"not compared with the published ranks {name}: {error.what}")
        return f"With the published ranks {name}: not compared."
    if not relate(other.ranks.identity, ranks.identity).usable:
        return f"With the published ranks {name}: not of the same images in the same order."
    if other.ranks.content_sha256 == ranks.content_sha256:
        return f"These are the published ranks {name}."
    return other


def agreement_of(ranks: RankFile, other: PublishedRanks | None, instead: str = "") -> list[str]:
    """Return what is known of the agreement between runs and with published ranks.

    Parameters
    ----------
    ranks : RankFile
    other : PublishedRanks, optional
        What they are compared with.
    instead : str
        What to say where there is nothing published to compare with.
    """
    lines = _between_runs(ranks)
    if other is not None:
        lines += _sentences(agreed(ranks, other), other)
    elif instead:
        lines.append(instead)
    return lines or ["There is nothing to compare these ranks with."]


def _between_runs(ranks: RankFile) -> list[str]:
    """Return a sentence on how far the runs of a file agree, if it has several."""
    if ranks.runs < 2 or not {"instability", "probability"} <= set(ranks.columns):
        return []
    orders = [ranks.run_ranking(run) for run in range(ranks.runs)]
    found = [agreement(a, b) for a, b in itertools.pairwise(orders)]
    mean = sum(each.spearman for each in found) / len(found)
    iou = sum(each.iou for each in found) / len(found)
    return [
        f"Between runs (each with the next, mean of {len(found)}): Spearman {mean:.3f}, "
        f"intersection over union of the most problematic fifth {iou:.3f}."
    ]


def _sentences(found: Agreed, other: PublishedRanks) -> list[str]:
    """Return the agreement with published ranks in words."""
    overall = found.overall
    lines = [
        f"With the published ranks {other.name} ({other.origin}), over "
        f"{overall.examples:,} examples: Spearman {overall.spearman:.3f}, intersection over union "
        f"of the {overall.top:,} most problematic {overall.iou:.3f}; of the {overall.kept:,} "
        f"that each would keep, {overall.overlap:.1%} are the same."
    ]
    if found.classes:
        each = ", ".join(f"{name} {spearman:.3f}" for name, spearman in found.classes.items())
        lines.append(f"Spearman with them within each class: {each}.")
    return lines
