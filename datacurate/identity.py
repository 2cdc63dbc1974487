"""Which images a row number means: the identity of a data set, and whether two of them agree.

Ranks and index lists are arrays of positions. A position means an image only as long as the data
set is the one it was made for; labels alone cannot tell, for a shuffle within a class leaves them
equal. So every rank file carries, for each example, a hash of its pixels and a hash of its look.
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
"""The class of every example of a data set whose labels are not known."""

_SHUFFLES = 4  # how often the pairs are shuffled within classes for the comparison
# A pair is of one picture if its hashes are at most half as far apart as those of shuffled pairs.
# Measured on CIFAR-10: a shuffled pair differs in 31.6 of 64 bits, in 16 at the least; a JPEG copy
# of quality 85 in 0.3, in 4 at the most; of quality 20 in 2.0, with one pair in 5,000 beyond 16.
_COPY_RATIO = 0.5
_OUT_OF_PLACE = 0.001  # the share of pairs beyond it in a copy; more means that rows have moved


@dataclass(frozen=True)
class Identity:
    """What a data set is, apart from where it lies.

    Attributes
    ----------
    name : str
        Such as ``"cifar10"``; for a data set of the user's own, its folder's name.
    split : str
        ``"train"`` or ``"test"``.
    class_names : tuple of str
        Index is the class label.
    shape : tuple of int
        Height, width, channels; zeros when made without images.
    labels : ndarray of int64, shape (N,)
        `UNKNOWN_LABEL` throughout where only their fingerprint is known.
    label_fingerprint : str
        See `datacurate.fingerprints.label_fingerprint`.
    pixel_fingerprint : str
        See `datacurate.fingerprints.pixel_fingerprint`; empty when made without images.
    content_hash, perceptual_hash : ndarray of uint64, shape (N,), or None
        None when made without images.
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
        """Whether the labels are known, and not only their fingerprint."""
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
    """Return the identity of a data set of which only the labels are known."""
    fingerprint = label_fingerprint(labels)
    return Identity(name, split, class_names, (0, 0, 0), labels, fingerprint, "", None, None)


def without_labels(
    name: str, split: str, examples: int, class_names: tuple[str, ...], fingerprint: str
) -> Identity:
    """Return the identity of a data set of which only the label fingerprint is known."""
    labels = np.full(examples, UNKNOWN_LABEL, dtype=np.int64)
    return Identity(name, split, class_names, (0, 0, 0), labels, fingerprint, "", None, None)


def with_labels_of(ranked: Identity, data: Identity) -> Identity:
    """Return an identity of unknown labels with the labels of the data at hand.

    Raises
    ------
    DataMismatchError
        If their fingerprint is another one.
    """
    if ranked.label_fingerprint != data.label_fingerprint:
        raise DataMismatchError(
            "the labels of this data are not those the ranks were made for",
            expected=describe(ranked),
            got=describe(data),
            hint="give the data the ranks were made from",
        )
    return dataclasses.replace(ranked, labels=data.labels)


class Relation(enum.Enum):
    """How the data that ranks were made from relates to the data they shall be joined with."""

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
        One sentence with the figures it rests on.
    """

    relation: Relation
    detail: str

    @property
    def usable(self) -> bool:
        """Whether position i of one is example i of the other."""
        return self.relation not in (Relation.REORDERED, Relation.FOREIGN)

    @property
    def warning(self) -> str | None:
        """What a user must be told although the join goes on, or None."""
        if self.relation is Relation.SAME or not self.usable:
            return None
        return f"{self.relation.value} ({self.detail})"


def relate(ranked: Identity, data: Identity) -> Match:
    """Decide whether ranks made from one data set may be joined with another.

    Equal content hashes in order decide for, an equal set of them in another order against. Else
    perceptual hashes are compared position by position, and beside that with the positions
    shuffled within each class: in a copy in another encoding every pair is far closer than in a
    shuffle. A mean would not do: a copy of which a third has moved still has a low one.

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
        return Match(Relation.LABELS_ONLY, "the labels' fingerprints could be compared, no image")
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
        return Match(Relation.REORDERED, f"{moved:,} of {len(data):,} images stand elsewhere")
    if differing:
        return Match(Relation.FOREIGN, f"{differing:,} of {len(data):,} labels differ")
    return relate_looks(ranked, data)


def relate_looks(ranked: Identity, data: Identity) -> Match:
    """Decide by perceptual hashes alone whether one data set is a re-encoded copy of another.

    Parameters
    ----------
    ranked, data : Identity
        Made with images, of equal labels; classes of a single example cannot tell anything.
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
    """Return the match of two data sets, or refuse to join them.

    Parameters
    ----------
    ranked, data : Identity
        As for `relate`.
    what : str
        What was made from `ranked`, such as ``"the ranks in a.ranks.h5"``.

    Raises
    ------
    DataMismatchError
        If positions of one do not mean the examples of the other.
    """
    return require_usable(relate(ranked, data), what, describe(ranked), describe(data))


def require_usable(match: Match, what: str, expected: str, got: str) -> Match:
    """Return a match if positions may be joined by it, or refuse.

    Parameters
    ----------
    match : Match
    what : str
        As for `require_match`.
    expected, got : str
        The data it was made from and the data at hand, in a line each.

    Raises
    ------
    DataMismatchError
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
    """Return one line for people: name, size, and the start of both fingerprints."""
    pixels = identity.pixel_fingerprint[:12] or "unknown"
    return (
        f"{identity.name} {identity.split}, {len(identity):,} examples, "
        f"{identity.classes} classes, labels {identity.label_fingerprint[:12]}, pixels {pixels}"
    )


def _perceptual_distances(ranked: Identity, data: Identity) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the Hamming distances in place, and their mean when shuffled within classes."""
    assert ranked.perceptual_hash is not None
    assert data.perceptual_hash is not None
    in_place = np.bitwise_count(ranked.perceptual_hash ^ data.perceptual_hash)
    chance = np.random.default_rng(0)
    by_class = np.argsort(data.labels, kind="stable")
    shuffled = 0.0
    for _ in range(_SHUFFLES):
        keys = np.lexsort((chance.random(len(data)), data.labels))
        there = np.empty(len(data), dtype=np.int64)
        there[by_class] = keys
        distance = np.bitwise_count(ranked.perceptual_hash ^ data.perceptual_hash[there])
        shuffled += float(distance.mean()) / _SHUFFLES
    return in_place, shuffled
