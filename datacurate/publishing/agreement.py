"""How far ranks agree: between their runs, and with published ranks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from datacurate.errors import DatacurateError
from datacurate.formats import rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.identity import relate
from datacurate.notices import Notify
from datacurate.publishing.fetching import fetch, import_copy, published_entries
from datacurate.ranks.agreement import agreement, agreement_by_class
from datacurate.ranks.comparison import Comparison, compare

KEPT_SHARE = 0.8
"""Share of examples kept in the comparison: as in the paper, 40,000 of CIFAR-10."""


@dataclass(frozen=True)
class PublishedRanks:
    """Published ranks to compare with.

    Attributes
    ----------
    name : str
        Name in the registry.
    origin : str
        Pinned address of the ranks.
    ranks : RankFile
    """

    name: str
    origin: str
    ranks: RankFile


@dataclass(frozen=True)
class PublishedAgreement:
    """How far ranks agree with published ranks.

    Attributes
    ----------
    overall : Comparison
        With `KEPT_SHARE` of the examples kept.
    classes : mapping of str to float
        Spearman's correlation within each class, in [-1, 1]; NaN if a score is constant in the
        class. Empty if the labels are not known.
    """

    overall: Comparison
    classes: dict[str, float]


def load_published(
    name: str, copy: Path | None = None, *, tell: Notify | None = None
) -> PublishedRanks:
    """Load published ranks to compare with.

    Parameters
    ----------
    name : str
        Name in the registry.
    copy : Path, optional
        A local copy of the authors' array. By default the ranks are fetched.
    tell : callable, optional
        Called with messages about the download.

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
        ranks, origin = import_copy(name, copy)
        return PublishedRanks(name, origin, ranks)
    fetched = fetch(name, tell=tell)
    return PublishedRanks(name, fetched.origin, rankfile.read(fetched.path))


def compare_with_published(ranks: RankFile, other: PublishedRanks) -> PublishedAgreement:
    """Compare ranks with published ones of the same examples.

    Raises
    ------
    DataError
        If the ranks belong to different data or share no example.
    """
    both = ranks.ranking(), other.ranks.ranking()
    identity = ranks.identity
    overall = compare(*both, keep=round(KEPT_SHARE * int(ranks.profiled.sum())))
    by_class = agreement_by_class(*both, identity.labels) if identity.labelled else {}
    names = identity.class_names
    return PublishedAgreement(
        overall, {names[label]: each.spearman for label, each in by_class.items()}
    )


def find_comparable(ranks: RankFile, tell: Notify) -> PublishedRanks | str | None:
    """Return the published ranks of the same data.

    Parameters
    ----------
    ranks : RankFile
    tell : callable
        Called with messages about the download.

    Returns
    -------
    PublishedRanks, str or None
        A sentence if published ranks exist but cannot be compared with. None if the registry has
        no ranks with the name of this data.
    """
    name = ranks.identity.name
    if name not in published_entries():
        return None
    try:
        other = load_published(name, tell=tell)
    except DatacurateError as error:
        tell(f"not compared with the published ranks {name}: {error.what}")
        return f"With the published ranks {name}: not compared."
    if not relate(other.ranks.identity, ranks.identity).usable:
        return f"With the published ranks {name}: not of the same images in the same order."
    if other.ranks.content_sha256 == ranks.content_sha256:
        return f"These are the published ranks {name}."
    return other


def describe_agreement(
    ranks: RankFile, other: PublishedRanks | None, instead: str = ""
) -> list[str]:
    """Describe the agreement between runs and with published ranks.

    Parameters
    ----------
    ranks : RankFile
    other : PublishedRanks, optional
        The ranks to compare with.
    instead : str
        The sentence to give if there are no published ranks.

    Returns
    -------
    list of str
        Sentences for the card.
    """
    lines = _run_lines(ranks)
    if other is not None:
        lines += _published_lines(compare_with_published(ranks, other), other)
    elif instead:
        lines.append(instead)
    return lines or ["There is nothing to compare these ranks with."]


def _run_lines(ranks: RankFile) -> list[str]:
    """Return a sentence about the agreement between runs, if there are several."""
    if ranks.runs < 2 or not {"instability", "probability"} <= set(ranks.columns):
        return []
    orders = [ranks.run_ranking(run) for run in range(ranks.runs)]
    pairs = [agreement(a, b) for a, b in itertools.pairwise(orders)]
    mean = sum(each.spearman for each in pairs) / len(pairs)
    iou = sum(each.iou for each in pairs) / len(pairs)
    return [
        f"Between runs (each with the next, mean of {len(pairs)}): Spearman {mean:.3f}, "
        f"intersection over union of the most problematic fifth {iou:.3f}."
    ]


def _published_lines(result: PublishedAgreement, other: PublishedRanks) -> list[str]:
    """Return sentences about the agreement with published ranks."""
    overall = result.overall
    lines = [
        f"With the published ranks {other.name} ({other.origin}), over "
        f"{overall.examples:,} examples: Spearman {overall.spearman:.3f}, intersection over union "
        f"of the {overall.top:,} most problematic {overall.iou:.3f}; of the {overall.kept:,} "
        f"that each would keep, {overall.overlap:.1%} are the same."
    ]
    if result.classes:
        each = ", ".join(f"{name} {spearman:.3f}" for name, spearman in result.classes.items())
        lines.append(f"Spearman with them within each class: {each}.")
    return lines
