"""The identity of a data set in a few kilobytes, for files without a hash for each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.fingerprints import U64, sha256_bytes
from datacurate.identity import Identity, Match, Relation, relate_looks

_SAMPLED = 2048
_SAMPLED_CLASSES = 256  # at most, because each sampled class needs several examples


@dataclass(frozen=True)
class Digest:
    """A summary that distinguishes a data set from others, from a reordered one, and from a copy.

    Attributes
    ----------
    name, split : str
    examples : int
        N.
    class_names : tuple of str
    shape : tuple of int
        Height, width, channels; zeros when made without images.
    label_fingerprint, pixel_fingerprint : str
        As in `Identity`.
    content_sha256, content_set_sha256 : str
        Hash of the content hashes in order, and sorted; empty without images.
    rows : ndarray of int64, shape (S,)
        A sample of at most 2,048 rows, several of each sampled class; empty without images.
    labels : ndarray of int64, shape (S,)
    perceptual_hash : ndarray of uint64, shape (S,)
        Hashes of the sample.
    """

    name: str
    split: str
    examples: int
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    label_fingerprint: str
    pixel_fingerprint: str
    content_sha256: str
    content_set_sha256: str
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    perceptual_hash: U64


def digest_of(identity: Identity) -> Digest:
    """Return the digest of a data set."""
    rows = np.empty(0, dtype=np.int64)
    looks = np.empty(0, dtype=np.uint64)
    content = content_set = ""
    if identity.content_hash is not None and identity.perceptual_hash is not None:
        content = _sha256(identity.content_hash)
        content_set = _sha256(np.sort(identity.content_hash))
        rows = _sample(identity.labels)
        looks = identity.perceptual_hash[rows]
    return Digest(
        name=identity.name,
        split=identity.split,
        examples=len(identity),
        class_names=identity.class_names,
        shape=identity.shape,
        label_fingerprint=identity.label_fingerprint,
        pixel_fingerprint=identity.pixel_fingerprint,
        content_sha256=content,
        content_set_sha256=content_set,
        rows=rows,
        labels=identity.labels[rows],
        perceptual_hash=looks,
    )


def relate_digest(made_for: Digest, data: Identity) -> Match:
    """Decide whether rows chosen from one data set may be applied to another.

    As `datacurate.identity.relate`, but a copy in another encoding is recognised by the sample.
    """
    if made_for.examples != len(data):
        return Match(Relation.FOREIGN, f"{made_for.examples:,} examples against {len(data):,}")
    relabelled = made_for.label_fingerprint != data.label_fingerprint
    if not made_for.content_sha256 or data.content_hash is None or data.perceptual_hash is None:
        if relabelled:
            return Match(Relation.FOREIGN, "the labels differ")
        return Match(Relation.LABELS_ONLY, "no image could be compared")
    if made_for.shape == data.shape and made_for.content_sha256 == _sha256(data.content_hash):
        if relabelled:
            return Match(Relation.RELABELLED, "the pixels are equal, the labels are not")
        return Match(Relation.SAME, f"{len(data):,} content hashes are equal")
    if made_for.content_set_sha256 == _sha256(np.sort(data.content_hash)):
        return Match(Relation.REORDERED, "the content hashes are equal as a set only")
    if relabelled:
        return Match(Relation.FOREIGN, "labels and pixels differ")
    return relate_looks(_sampled(made_for), _sampled(digest_of(data)))


def describe_digest(digest: Digest) -> str:
    """Return one line in words, as `datacurate.identity.describe` does."""
    return (
        f"{digest.name} {digest.split}, {digest.examples:,} examples, "
        f"{len(digest.class_names)} classes, labels {digest.label_fingerprint[:12]}, "
        f"pixels {digest.pixel_fingerprint[:12] or 'unknown'}"
    )


def as_json(digest: Digest) -> dict[str, Any]:
    """Return a digest as plain JSON values; the sample's numbers are joined by spaces."""
    return {
        "name": digest.name,
        "split": digest.split,
        "examples": digest.examples,
        "class_names": list(digest.class_names),
        "shape": list(digest.shape),
        "label_fingerprint": digest.label_fingerprint,
        "pixel_fingerprint": digest.pixel_fingerprint,
        "content_sha256": digest.content_sha256,
        "content_set_sha256": digest.content_set_sha256,
        # One line each, so that the file stays readable.
        "sample": {
            "rows": " ".join(map(str, digest.rows.tolist())),
            "labels": " ".join(map(str, digest.labels.tolist())),
            "perceptual_hash": " ".join(f"{hash:016x}" for hash in digest.perceptual_hash.tolist()),
        },
    }


def from_json(values: Mapping[str, Any]) -> Digest:
    """Return a digest from its JSON values.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError, AttributeError
        If they are not the values of a digest.
    """
    sample = values["sample"]
    hashes = [int(text, 16) for text in sample["perceptual_hash"].split()]
    digest = Digest(
        name=str(values["name"]),
        split=str(values["split"]),
        examples=int(values["examples"]),
        class_names=tuple(str(name) for name in values["class_names"]),
        shape=_three(values["shape"]),
        label_fingerprint=str(values["label_fingerprint"]),
        pixel_fingerprint=str(values["pixel_fingerprint"]),
        content_sha256=str(values["content_sha256"]),
        content_set_sha256=str(values["content_set_sha256"]),
        rows=np.array(sample["rows"].split(), dtype=np.int64),
        labels=np.array(sample["labels"].split(), dtype=np.int64),
        perceptual_hash=np.array(hashes, dtype=np.uint64),
    )
    if not digest.rows.shape == digest.labels.shape == digest.perceptual_hash.shape:
        raise ValueError("the sample's lists differ in length")
    return digest


def _three(values: Any) -> tuple[int, int, int]:
    height, width, channels = values
    return int(height), int(width), int(channels)


def _sha256(hashes: U64) -> str:
    return sha256_bytes(hashes.astype("<u8").tobytes())


def _sample(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return rows spread evenly over some classes, ascending; a function of the labels alone."""
    sizes = np.bincount(labels)
    present = np.flatnonzero(sizes)
    chosen = present[_spread(len(present), _SAMPLED_CLASSES)]
    each = _SAMPLED // len(chosen)
    is_chosen = np.zeros(len(sizes), dtype=np.bool_)
    is_chosen[chosen] = True
    rows = np.flatnonzero(is_chosen[labels])
    rows = rows[np.argsort(labels[rows], kind="stable")]
    starts = np.cumsum(sizes[chosen]) - sizes[chosen]
    places = [
        start + _spread(size, each)
        for start, size in zip(starts.tolist(), sizes[chosen].tolist(), strict=True)
    ]
    return np.sort(rows[np.concatenate(places)])


def _spread(size: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` places, evenly spread over a range."""
    number = min(size, most)
    return np.arange(number) * size // number


def _sampled(digest: Digest) -> Identity:
    """Return the sample as an identity with perceptual hashes only."""
    return Identity(
        name=digest.name,
        split=digest.split,
        class_names=digest.class_names,
        shape=digest.shape,
        labels=digest.labels,
        label_fingerprint=digest.label_fingerprint,
        pixel_fingerprint="",
        content_hash=None,
        perceptual_hash=digest.perceptual_hash,
    )
