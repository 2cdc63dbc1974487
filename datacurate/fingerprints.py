"""Hashes of files, arrays, examples and configurations.

Every function is pure and gives the same value on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

U64 = npt.NDArray[np.uint64]


def sha256_bytes(data: bytes | memoryview) -> str:
    """Return the sha256 of some bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces, ASCII, no NaN.

    Raises
    ------
    ValueError
        If the value contains NaN or infinity, which JSON cannot express.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def configuration_hash(value: Any) -> str:
    """Return the first 16 hex digits of the sha256 of a configuration's canonical JSON."""
    return sha256_bytes(canonical_json(value).encode())[:16]


def columns_sha256(columns: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the sha256 over named arrays in canonical form.

    Names are sorted. Each array contributes its name, little-endian type, shape, and bytes in
    little-endian C order.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        array = np.ascontiguousarray(columns[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header = [name, array.dtype.str, list(array.shape)]
        digest.update(canonical_json(header).encode() + b"\n")
        digest.update(array.data.cast("B") if array.ndim and array.size else array.tobytes())
    return digest.hexdigest()


def label_fingerprint(labels: npt.NDArray[np.integer[Any]]) -> str:
    """Return the sha256 of labels in order.

    Each label takes one byte, or four bytes (little-endian) if a label is above 255.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        Class of each example, 0 or more.
    """
    wide = labels.size > 0 and int(labels.max()) > 255
    return sha256_bytes(labels.astype("<u4" if wide else "u1").tobytes())


def pixel_fingerprint(images: npt.NDArray[np.uint8]) -> str:
    """Return the sha256 of images of dtype uint8 and shape (N, H, W, C), in order."""
    return hashlib.sha256(np.ascontiguousarray(images).data.cast("B")).hexdigest()


def content_hashes(images: npt.NDArray[np.uint8]) -> U64:
    """Return a 64-bit hash of each image: equal pixels, equal hash.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)

    Returns
    -------
    ndarray of uint64, shape (N,)
        BLAKE2b with an 8-byte digest, keyed by the image's height, width and channels so that
        equal bytes of different shapes differ; read as a little-endian number.
    """
    shape = b"%dx%dx%d" % images.shape[1:]
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8, key=shape).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def perceptual_hashes(images: npt.NDArray[np.uint8], *, chunk: int = 8192) -> U64:
    """Return a 64-bit perceptual hash of each image: re-encoded copies differ in few bits.

    Take the two-dimensional cosine transform of the luma, and the 64 coefficients of lowest
    frequency after the constant one, in zigzag order. Each bit states whether a coefficient is
    positive. In images with fewer coefficients the remaining bits are 0.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        C is 1 or 3.
    chunk : int
        Images per transform; limits memory, does not change the result.

    Returns
    -------
    ndarray of uint64, shape (N,)
    """
    height, width = images.shape[1:3]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    zigzag = np.lexsort((rows.ravel(), (rows + columns).ravel()))[1:65]
    weights = np.array([0.299, 0.587, 0.114]) if images.shape[3] == 3 else np.ones(1)
    bit = np.left_shift(np.uint64(1), np.arange(len(zigzag), dtype=np.uint64))
    out = np.zeros(len(images), dtype=np.uint64)
    for start in range(0, len(images), chunk):
        luma = images[start : start + chunk].astype(np.float64) @ weights
        spectrum = fft.dctn(luma, axes=(1, 2), norm="ortho").reshape(len(luma), -1)[:, zigzag]
        # For a flat image the exact value is zero: ignore the sign of rounding errors.
        positive = spectrum > 1e-6
        out[start : start + len(luma)] = (positive * bit).sum(axis=1, dtype=np.uint64)
    return out


def mix64(*words: npt.NDArray[np.uint64] | int) -> U64:
    """Mix integers into one well-spread 64-bit hash each (the finaliser of SplitMix64).

    Parameters
    ----------
    *words : ndarray of uint64 or int
        Words to mix, broadcast against each other. Their order matters.

    Returns
    -------
    ndarray of uint64
    """
    state = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for word in words:
            value = word if isinstance(word, np.ndarray) else np.uint64(word & 0xFFFFFFFFFFFFFFFF)
            state = (state ^ value) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def seed64(*parts: str | int) -> int:
    """Return a 63-bit seed from words and numbers; each random choice uses its own name.

    >>> seed64("order", 0, 3) == seed64("order", 0, 3)
    True
    >>> seed64("order", 0, 3) == seed64("order", 3, 0)
    False
    """
    digest = hashlib.sha256(canonical_json(list(parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
