"""Transfer ranks to the same images in another order, by their content hashes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataMismatchError, FileError
from datacurate.formats.columns import KNOWN_COLUMNS
from datacurate.formats.provenance import Provenance, now
from datacurate.formats.rankfile import RankFile
from datacurate.identity import Identity, describe
from datacurate.ranks import ranking
from datacurate.ranks.ranking import I64

_NOWHERE = -1


@dataclass(frozen=True)
class Alignment:
    """Ranks for another order of the images, and how the two sets of images relate.

    Attributes
    ----------
    rank_file : RankFile
        Ranks in the order of the given data.
    moved : int
        Images that were in another row.
    duplicates : int
        Images of which the data has another copy with equal pixels.
    surplus : int
        Copies in excess of those that were ranked.
    relabelled : int
        Images that were only ranked with another label.
    missing : int
        Ranked images that the data lacks, or has fewer copies of.
    foreign : int
        Images that were not ranked. They count as not profiled.
    """

    rank_file: RankFile
    moved: int
    duplicates: int
    surplus: int
    relabelled: int
    missing: int
    foreign: int

    @property
    def counts(self) -> dict[str, int]:
        """All of these numbers by name."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "rank_file"
        }


def align(
    rank_file: RankFile,
    data: Identity,
    parent: Mapping[str, str],
    data_source: Mapping[str, str],
) -> Alignment:
    """Return the ranks of a file in the order of the given images.

    An image gets the values of the row with equal pixels and the same label. Copies are paired in
    the order of their rows. Copies in excess of those that were ranked get the values of the last
    one. An image that was only ranked with another label gets the values of the first such row. An
    image without a row counts as not profiled. The ranks keep their values. The order of equal
    ranks depends on the row, so it is decided anew.

    Parameters
    ----------
    rank_file : RankFile
    data : Identity
        Identity of the given data, M examples.
    parent : mapping
        ``name`` and ``sha256`` of the rank file.
    data_source : mapping
        Where the given data came from.

    Raises
    ------
    FileError
        If the ranks were made without images.
    DataMismatchError
        If no image is the same.
    """
    ranked = rank_file.identity
    if ranked.content_hash is None or data.content_hash is None:
        raise FileError(
            f"{parent['name']} has no hashes of images, so its images cannot be found",
            expected="ranks that were made, or imported, with images",
            got=describe(ranked),
            hint="import them again with --data and the images in the order of the ranks",
        )
    rows, relabelled = _rows_of(ranked, data)
    found = rows != _NOWHERE
    if not found.any():
        raise DataMismatchError(
            "no image of this data was ranked",
            expected=describe(ranked),
            got=describe(data),
            hint="align needs equal pixels: a re-encoded copy can be used as it is, or profiled",
        )
    uses = np.bincount(rows[found], minlength=len(ranked))
    _, copies, times = np.unique(data.content_hash, return_inverse=True, return_counts=True)
    numbers = {
        "moved": int(np.count_nonzero(found & (rows != np.arange(len(data))))),
        "duplicates": int(np.count_nonzero(times[copies] > 1)),
        "surplus": int((uses[uses > 1] - 1).sum()),
        "relabelled": relabelled,
        "missing": int(np.count_nonzero(uses == 0)),
        "foreign": int(np.count_nonzero(~found)),
    }
    same_images = bool((uses == 1).all()) and bool(found.all())
    columns = _carried(rank_file.columns, rows)
    provenance = _provenance(rank_file.provenance, same_images, numbers, parent, data_source)
    carried = RankFile(data, columns, provenance)
    order = ranking.rank(
        columns["problematic_rank"],
        data.label_fingerprint,
        probability=carried.probability,
        profiled=carried.profiled,
    )
    columns["position"] = order.position
    return Alignment(carried, **numbers)


def _rows_of(ranked: Identity, data: Identity) -> tuple[I64, int]:
    """Return the ranked row of every image, or `_NOWHERE`, and how many have another label."""
    assert ranked.content_hash is not None
    assert data.content_hash is not None
    both = np.concatenate([ranked.content_hash, data.content_hash])
    _, image = np.unique(both, return_inverse=True)
    classes = max(ranked.classes, data.classes)
    labels = np.concatenate([ranked.labels, data.labels])
    key = image * classes + labels
    there, here = key[: len(ranked)], key[len(ranked) :]
    rows = _paired(there, here)
    lost = np.flatnonzero(rows == _NOWHERE)
    first_copy = np.full(int(image.max()) + 1, _NOWHERE, dtype=np.int64)
    # In reverse, so that the first of several copies is written last.
    first_copy[image[: len(ranked)][::-1]] = np.arange(len(ranked))[::-1]
    rows[lost] = first_copy[image[len(ranked) :][lost]]
    return rows, int(np.count_nonzero(rows[lost] != _NOWHERE))


def _paired(there: I64, here: I64) -> I64:
    """Pair equal keys: the k-th with the k-th, or with the last if there are fewer."""
    order = np.argsort(there, kind="stable")
    ordered = there[order]
    left = np.searchsorted(ordered, here, side="left")
    number = np.searchsorted(ordered, here, side="right") - left
    by_key = np.argsort(here, kind="stable")
    starts = np.flatnonzero(ranking.starts_group(here[by_key]))
    occurrence = np.empty(len(here), dtype=np.int64)
    sizes = np.diff(starts, append=len(here))
    occurrence[by_key] = np.arange(len(here)) - np.repeat(starts, sizes)
    rows = np.full(len(here), _NOWHERE, dtype=np.int64)
    some = number > 0
    rows[some] = order[(left + np.minimum(occurrence, number - 1))[some]]
    return rows


def _carried(columns: Mapping[str, npt.NDArray[Any]], rows: I64) -> dict[str, npt.NDArray[Any]]:
    """Return columns in the order of `rows`, with the missing value where there is no row."""
    absent = rows == _NOWHERE
    carried: dict[str, npt.NDArray[Any]] = {}
    for name, values in columns.items():
        moved = values[np.where(absent, 0, rows)]
        if absent.any():
            if name in KNOWN_COLUMNS:
                moved[absent] = KNOWN_COLUMNS[name].missing
            elif values.dtype.kind == "f":
                moved[absent] = np.nan
            else:
                continue  # of a later version, whose missing value is unknown
        carried[name] = moved
    return carried


def _provenance(
    made: Provenance,
    same_images: bool,
    numbers: Mapping[str, int],
    parent: Mapping[str, str],
    data_source: Mapping[str, str],
) -> Provenance:
    return dataclasses.replace(
        made,
        kind="align",
        # Ranks count examples. With some missing or doubled they no longer follow from columns.
        aggregation=made.aggregation if same_images else "given",
        source={
            **made.source,
            "aligned_to": dict(data_source),
            "alignment": dict(numbers),
        },
        created=now(),
        parents=(dict(parent),),
    )
