"""Files that would reach outside themselves, run something, or promise more than they hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from datacurate.errors import FileError
from datacurate.formats import hdf5, rankfile
from tests.made_ranks import made_rank_file


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.ranks.h5"
    rankfile.write(path, made_rank_file())
    return path


def external_link(file: h5py.File) -> None:
    file["secret"] = h5py.ExternalLink("/etc/hostname", "/")


def soft_link(file: h5py.File) -> None:
    file["alias"] = h5py.SoftLink("/label")


def group(file: h5py.File) -> None:
    file.create_group("more")["label"] = np.zeros(60)


def external_storage(file: h5py.File) -> None:
    file.create_dataset("raw", (60,), "u1", external=[("/etc/passwd", 0, 60)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((60,), "u1")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", (60,))
    file.create_virtual_dataset("virtual", layout)


def long_strings(file: h5py.File) -> None:
    file.create_dataset("text", data=["a"] * 60, dtype=h5py.string_dtype())


def references(file: h5py.File) -> None:
    file.create_dataset("reference", (60,), h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    file["compound"] = np.zeros(60, dtype=[("a", "i4"), ("b", "f4")])


def big_endian(file: h5py.File) -> None:
    file["big"] = np.zeros(60, dtype=">i4")


def half_precision(file: h5py.File) -> None:
    file["half"] = np.zeros(60, dtype=np.float16)


def plugin_filter(file: h5py.File) -> None:
    file.create_dataset("lzf", data=np.zeros(60), compression="lzf")


def never_written(file: h5py.File) -> None:
    file.create_dataset("huge", (60, 1 << 40), "f8", chunks=(60, 1 << 12))


def huge_chunk(file: h5py.File) -> None:
    values = np.zeros((60, 1 << 16))
    file.create_dataset("chunk", data=values, chunks=values.shape, compression="gzip")


def other_length(file: h5py.File) -> None:
    file["longer"] = np.zeros(61)


def no_rows(file: h5py.File) -> None:
    file["none"] = np.zeros(0)


def scalar(file: h5py.File) -> None:
    file["scalar"] = 1.0


def four_dimensions(file: h5py.File) -> None:
    file["four"] = np.zeros((60, 1, 1, 1))


def shared_bytes(file: h5py.File) -> None:
    for number in range(400):
        file[f"copy{number}"] = file["content_hash"]


def long_string_attribute(file: h5py.File) -> None:
    file.attrs["note"] = "a text of no fixed length"


def number_attribute(file: h5py.File) -> None:
    file.attrs["number"] = 1


def array_attribute(file: h5py.File) -> None:
    file.attrs["array"] = np.array([b"a", b"b"])


def not_utf8(file: h5py.File) -> None:
    file.attrs["created"] = np.bytes_(b"\xff\xfe")


def stray_piece(file: h5py.File) -> None:
    file.attrs["nothing.1"] = np.bytes_(b"a")


def many_objects(file: h5py.File) -> None:
    for number in range(1100):
        file[f"n{number}"] = np.zeros(60)


HOSTILE = [
    external_link,
    soft_link,
    group,
    external_storage,
    virtual,
    long_strings,
    references,
    compound,
    big_endian,
    half_precision,
    plugin_filter,
    never_written,
    huge_chunk,
    other_length,
    no_rows,
    scalar,
    four_dimensions,
    shared_bytes,
    long_string_attribute,
    number_attribute,
    array_attribute,
    not_utf8,
    stray_piece,
    many_objects,
]


@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_refused_before_any_of_it_is_read(
    good: Path, change: Callable[[h5py.File], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(good, "r+") as file:
        change(file)

    def no_reading(*_: Any) -> None:
        raise AssertionError("a value was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", no_reading)
    with pytest.raises(FileError, match="that can be trusted"):
        rankfile.read(good)


def test_truncated_at_any_length(good: Path) -> None:
    data = good.read_bytes()
    chance = random.Random(0)
    for length in [0, 1, 8, 100, len(data) - 1, *(chance.randrange(len(data)) for _ in range(20))]:
        good.write_bytes(data[:length])
        with pytest.raises(FileError):
            rankfile.read(good)


def test_damage_is_found_or_harmless(good: Path) -> None:
    data = good.read_bytes()
    before = rankfile.read(good)
    chance = random.Random(0)
    found = 0
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 4, 32])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        good.write_bytes(damaged)
        try:
            after = rankfile.read(good)
        except FileError:
            found += 1
            continue
        # HDF5 leaves gaps that nothing depends on.
        assert after.content_sha256 == before.content_sha256
        for name, values in before.columns.items():
            floating = values.dtype.kind == "f"
            assert np.array_equal(values, after.columns[name], equal_nan=floating)
    assert found > 50


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", b"#!"])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.ranks.h5"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        rankfile.read(path)
    assert "datacurate profile" in str(caught.value)


def test_hdf5_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(FileError, match="not a rank file"):
        rankfile.read(path)


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.ranks.h5"):
        with pytest.raises(FileError, match="there is no file"):
            rankfile.read(path)


def test_errors_of_the_reader_s_own_code_are_not_called_damage(good: Path) -> None:
    with pytest.raises(ValueError, match="mine"), hdf5.opened(good):
        raise ValueError("mine")
