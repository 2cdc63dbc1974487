"""The identity of a data set, and whether two data sets agree row by row.

Ranks and index lists are arrays of positions. A position identifies an image only in the data set
that it was made for. Labels cannot show this, because a shuffle within a class does not change
them. So every rank file carries a hash of the pixels and a perceptual hash for each example.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataMismatchError
from datacurate.fingerprints import (
    U64,
    content_hashes,
    label_fingerprint,
    perceptual_hashes,
    pixel_fingerprint,
)

UNKNOWN_LABEL = -1
"""The label of every example in a data set with unknown labels."""

_SHUFFLES = 4  # shuffles within classes for the comparison
# A pair shows one picture if its hashes are at most half as far apart as those of shuffled pairs.
# Measured on CIFAR-10: a shuffled pair differs in 31.6 of 64 bits on average, at least 16; a JPEG
# copy of quality 85 in 0.3, at most 4; of quality 20 in 2.0, with one pair in 5,000 above 16.
_COPY_RATIO = 0.5
_OUT_OF_PLACE = (
    0.001  # largest share of pairs above the ratio in a copy; more means that rows moved
)


@dataclass(frozen=True)
class Identity:
    """The content of a data set, independent of its place.

    Attributes
    ----------
    name : str
        Such as ``"cifar10"``; for the user's own data, the name of its folder.
    split : str
        ``"train"`` or ``"test"``.
    class_names : tuple of str
        Indexed by the class label.
    shape : tuple of int
        Height, width, channels; zeros without images.
    labels : ndarray of int64, shape (N,)
        All `UNKNOWN_LABEL` if only the label fingerprint is known.
    label_fingerprint : str
        See `datacurate.fingerprints.label_fingerprint`.
    pixel_fingerprint : str
        See `datacurate.fingerprints.pixel_fingerprint`; empty without images.
    content_hash, perceptual_hash : ndarray of uint64, shape (N,), or None
        None without images.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    labels: npt.NDArray[np.int64]
    label_fingerprint: str
    pixel_fingerprint: str
    content_hash: U64 | None
    perceptual_hash: U64 | None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known, not only their fingerprint."""
        return bool((self.labels[:1] != UNKNOWN_LABEL).all())


def identify(
    name: str,
    split: str,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    class_names: tuple[str, ...],
) -> Identity:
    """Return the identity of images of shape (N, H, W, C) with labels of shape (N,)."""
    height, width, channels = images.shape[1:]
    return Identity(
        name=name,
        split=split,
        class_names=class_names,
        shape=(height, width, channels),
        labels=labels,
        label_fingerprint=label_fingerprint(labels),
        pixel_fingerprint=pixel_fingerprint(images),
        content_hash=content_hashes(images),
        perceptual_hash=perceptual_hashes(images),
    )


def without_images(
    name: str, split: str, labels: npt.NDArray[np.int64], class_names: tuple[str, ...]
) -> Identity:
    """Return the identity of a data set if only its labels, of shape (N,), are known."""
    fingerprint = label_fingerprint(labels)
    return Identity(name, split, class_names, (0, 0, 0), labels, fingerprint, "", None, None)


def without_labels(
    name: str, split: str, examples: int, class_names: tuple[str, ...], fingerprint: str
) -> Identity:
    """Return the identity of a data set if only its label fingerprint is known."""
    labels = np.full(examples, UNKNOWN_LABEL, dtype=np.int64)
    return Identity(name, split, class_names, (0, 0, 0), labels, fingerprint, "", None, None)


def with_labels_of(ranked: Identity, data: Identity) -> Identity:
    """Return an identity without labels, completed with the labels of the data at hand.

    Raises
    ------
    DataMismatchError
        If the label fingerprints differ.
    """
    if ranked.label_fingerprint != data.label_fingerprint:
        raise DataMismatchError(
            "the ranks were made for other labels than those of this data",
            expected=describe(ranked),
            got=describe(data),
            hint="give the data the ranks were made from",
        )
    return dataclasses.replace(ranked, labels=data.labels)


class Relation(enum.Enum):
    """How the data that ranks were made from relates to the data at hand."""

    SAME = "the same images in the same order"
    RELABELLED = "the same images in the same order, some with other labels"
    REENCODED = "a re-encoded copy: the same pictures, other pixels"
    LABELS_ONLY = "equal labels; the ranks were made without images, so no more can be checked"
    REORDERED = "the same images in another order"
    FOREIGN = "other data"


@dataclass(frozen=True)
class Match:
    """The outcome of `relate`.

    Attributes
    ----------
    relation : Relation
    detail : str
        One sentence with the supporting figures.
    """

    relation: Relation
    detail: str

    @property
    def usable(self) -> bool:
        """Whether row i of one data set is row i of the other."""
        return self.relation not in (Relation.REORDERED, Relation.FOREIGN)

    @property
    def warning(self) -> str | None:
        """A warning for the user if the match is usable but not exact, or None."""
        if self.relation is Relation.SAME or not self.usable:
            return None
        return f"{self.relation.value} ({self.detail})"


def relate(ranked: Identity, data: Identity) -> Match:
    """Decide whether ranks made from one data set may be joined with another.

    Equal content hashes in the same order mean a match; in another order, no match. Otherwise
    compare perceptual hashes row by row, and again with the rows shuffled within each class. In
    a re-encoded copy every pair is much closer than in a shuffle. The mean distance is not
    enough: it is still low in a copy in which a third of the rows have moved.

    Parameters
    ----------
    ranked : Identity
        Of the data the ranks or indices were made from.
    data : Identity
        Of the data at hand.
    """
    if len(ranked) != len(data):
        return Match(Relation.FOREIGN, f"{len(ranked):,} examples against {len(data):,}")
    if not (ranked.labelled and data.labelled):
        if ranked.label_fingerprint != data.label_fingerprint:
            return Match(Relation.FOREIGN, "the labels have another fingerprint")
        return Match(Relation.LABELS_ONLY, "only label fingerprints could be compared, no images")
    differing = int(np.count_nonzero(ranked.labels != data.labels))
    if ranked.content_hash is None or data.content_hash is None:
        if differing:
            return Match(Relation.FOREIGN, f"{differing:,} of {len(data):,} labels differ")
        return Match(Relation.LABELS_ONLY, "no image could be compared")
    if ranked.shape == data.shape and np.array_equal(ranked.content_hash, data.content_hash):
        if differing:
            return Match(
                Relation.RELABELLED, f"{differing:,} of {len(data):,} examples have another label"
            )
        return Match(Relation.SAME, f"{len(data):,} content hashes are equal")
    if np.array_equal(np.sort(ranked.content_hash), np.sort(data.content_hash)):
        moved = int(np.count_nonzero(ranked.content_hash != data.content_hash))
        return Match(Relation.REORDERED, f"{moved:,} of {len(data):,} images are in other rows")
    if differing:
        return Match(Relation.FOREIGN, f"{differing:,} of {len(data):,} labels differ")
    return relate_looks(ranked, data)


def relate_looks(ranked: Identity, data: Identity) -> Match:
    """Decide by perceptual hashes alone whether one data set is a re-encoded copy of another.

    Parameters
    ----------
    ranked, data : Identity
        Both with images and with equal labels. Classes of a single example give no evidence.
    """
    in_place, shuffled = _perceptual_distances(ranked, data)
    strangers = int(np.count_nonzero(in_place > _COPY_RATIO * shuffled))
    detail = (
        f"perceptual hashes differ in {in_place.mean():.1f} of 64 bits in place, "
        f"{shuffled:.1f} when shuffled within classes; "
        f"{strangers:,} of {len(data):,} look like other pictures"
    )
    close = shuffled > 0 and strangers <= _OUT_OF_PLACE * len(data)
    return Match(Relation.REENCODED if close else Relation.FOREIGN, detail)


def require_match(ranked: Identity, data: Identity, what: str) -> Match:
    """Return the match of two data sets; raise an error if they may not be joined.

    Parameters
    ----------
    ranked, data : Identity
        As for `relate`.
    what : str
        What was made from `ranked`, such as ``"the ranks in a.ranks.h5"``.

    Raises
    ------
    DataMismatchError
        If row i of one is not row i of the other.
    """
    return require_usable(relate(ranked, data), what, describe(ranked), describe(data))


def require_usable(match: Match, what: str, expected: str, got: str) -> Match:
    """Return a match if it is usable; raise an error otherwise.

    Parameters
    ----------
    match : Match
    what : str
        As for `require_match`.
    expected, got : str
        One line each on the original data and on the data at hand.

    Raises
    ------
    DataMismatchError
        If the match is not usable.
    """
    if match.usable:
        return match
    reordered = match.relation is Relation.REORDERED
    raise DataMismatchError(
        f"{what} were not made for this data: {match.relation.value} ({match.detail})",
        expected=expected,
        got=got,
        hint=(
            "carry the ranks over to this order: datacurate align FILE --data DIR --out FILE"
            if reordered
            else "give the data the ranks were made from, or profile this data"
        ),
    )


def describe(identity: Identity) -> str:
    """Return one line for users: name, size, and the start of both fingerprints."""
    pixels = identity.pixel_fingerprint[:12] or "unknown"
    return (
        f"{identity.name} {identity.split}, {len(identity):,} examples, "
        f"{identity.classes} classes, labels {identity.label_fingerprint[:12]}, pixels {pixels}"
    )


def _perceptual_distances(ranked: Identity, data: Identity) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the Hamming distances row by row, and their mean after shuffles within classes."""
    assert ranked.perceptual_hash is not None
    assert data.perceptual_hash is not None
    in_place = np.bitwise_count(ranked.perceptual_hash ^ data.perceptual_hash)
    generator = np.random.default_rng(0)
    by_class = np.argsort(data.labels, kind="stable")
    shuffled = 0.0
    for _ in range(_SHUFFLES):
        keys = np.lexsort((generator.random(len(data)), data.labels))
        partner = np.empty(len(data), dtype=np.int64)
        partner[by_class] = keys
        distance = np.bitwise_count(ranked.perceptual_hash ^ data.perceptual_hash[partner])
        shuffled += float(distance.mean()) / _SHUFFLES
    return in_place, shuffled
