"""Hashes against independent computations, and what they must and must not depend on."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import fft

from datacurate import fingerprints as f

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)


def test_files_and_bytes_hash_as_hashlib_says(tmp_path: Path) -> None:
    data = b"some bytes" * 1000
    (tmp_path / "file").write_bytes(data)
    assert f.sha256_file(tmp_path / "file") == f.sha256_bytes(data)
    assert f.sha256_bytes(b"abc").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


def test_canonical_json_is_one_text() -> None:
    assert f.canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    assert f.configuration_hash({"a": 1, "b": 2}) == f.configuration_hash({"b": 2, "a": 1})
    assert len(f.configuration_hash({})) == 16
    with pytest.raises(ValueError, match="JSON"):
        f.canonical_json(float("nan"))


def test_labels_are_hashed_as_bytes_until_class_256() -> None:
    labels = np.array([0, 3, 255])
    assert f.label_fingerprint(labels) == hashlib.sha256(bytes([0, 3, 255])).hexdigest()
    wide = np.array([0, 256])
    assert f.label_fingerprint(wide) == hashlib.sha256(struct.pack("<II", 0, 256)).hexdigest()
    assert f.label_fingerprint(labels.astype(np.uint8)) == f.label_fingerprint(labels)
    assert f.label_fingerprint(labels[:0]) == hashlib.sha256(b"").hexdigest()


def test_pixels_are_hashed_in_order_whatever_their_memory() -> None:
    expected = hashlib.sha256(IMAGES.tobytes()).hexdigest()
    assert f.pixel_fingerprint(IMAGES) == expected
    planes = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    assert f.pixel_fingerprint(planes.transpose(0, 2, 3, 1)) == expected


def test_content_hashes_are_keyed_blake2b() -> None:
    one = hashlib.blake2b(IMAGES[3].tobytes(), digest_size=8, key=b"5x6x3").digest()
    assert int(f.content_hashes(IMAGES)[3]) == int.from_bytes(one, "little")
    turned = f.content_hashes(IMAGES.reshape(7, 6, 5, 3))
    assert not np.isin(turned, f.content_hashes(IMAGES)).any()
    order = np.array([4, 0, 6, 1, 5, 2, 3])
    assert np.array_equal(f.content_hashes(IMAGES[order]), f.content_hashes(IMAGES)[order])


def test_perceptual_hash_is_the_sign_of_the_lowest_frequencies() -> None:
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    spectrum = fft.dct(fft.dct(image[0, :, :, 0].astype(float), axis=0), axis=1)
    diagonals = [(r, s - r) for s in range(11) for r in range(s + 1)][1:65]
    expected = sum(
        int(spectrum[row, column] > 0) << bit for bit, (row, column) in enumerate(diagonals)
    )
    assert int(f.perceptual_hashes(image)[0]) == expected


def test_perceptual_hash_sees_the_picture_not_its_colour_depth() -> None:
    grey = np.random.default_rng(2).integers(0, 256, (9, 16, 16, 1), dtype=np.uint8)
    assert np.array_equal(f.perceptual_hashes(grey), f.perceptual_hashes(grey.repeat(3, axis=3)))
    flat = np.full((1, 8, 8, 3), 77, dtype=np.uint8)
    assert f.perceptual_hashes(flat)[0] == 0
    small = np.array([[[[0], [255]], [[0], [255]]]], dtype=np.uint8)  # 2×2: three coefficients
    assert f.perceptual_hashes(small)[0] < 8


def test_perceptual_hashes_do_not_depend_on_the_chunk() -> None:
    assert np.array_equal(f.perceptual_hashes(IMAGES, chunk=2), f.perceptual_hashes(IMAGES))


def test_columns_hash_depends_on_names_types_and_values_only() -> None:
    a, b = np.arange(3, dtype="<i8"), np.ones(2, dtype=np.float32)
    base = f.columns_sha256({"a": a, "b": b})
    assert f.columns_sha256({"b": b, "a": a}) == base
    assert f.columns_sha256({"a": a.astype(">i8"), "b": b}) == base
    assert f.columns_sha256({"a": a.astype(np.int32), "b": b}) != base
    assert f.columns_sha256({"c": a, "b": b}) != base
    assert f.columns_sha256({"a": a[:0], "b": b}) != base


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_mix64_is_splitmix64_and_minds_order(one: int, other: int) -> None:
    def step(state: int, word: int) -> int:
        mask = 2**64 - 1
        state = ((state ^ word) + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & mask
        return state ^ state >> 31

    assert int(f.mix64(one, other)[0]) == step(step(0, one), other)
    words = np.array([one, other], dtype=np.uint64)
    assert f.mix64(words).tolist() == [step(0, one), step(0, other)]


def test_the_first_value_of_splitmix64_is_the_published_one() -> None:
    # The generator started at 0 gives this first.
    assert int(f.mix64(0)[0]) == 0xE220A8397B1DCDAF


def test_seeds_are_apart_by_name() -> None:
    seeds = {f.seed64(name, i) for name in ("order", "crop") for i in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
