"""Image files become pixels, or a clear error."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datacurate.data.decoding import decode_images
from datacurate.errors import DataError
from tests.data.data_files import encoded, noise


def decode(files: list[bytes], chunk: int = 256, threads: bool | None = None) -> np.ndarray:
    return decode_images(
        len(files),
        lambda row: files[row],
        lambda row: f"file {row}",
        chunk=chunk,
        threads=threads,
    )


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(form: str) -> None:
    images = noise(3, 9)
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    files = [saved(Image.fromarray(image), form, **options) for image in images]
    assert np.array_equal(decode(files), images)


def test_jpeg_is_as_pillow_decodes_it() -> None:
    files = [encoded(image, "JPEG") for image in noise(3, 16)]
    expected = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    assert np.array_equal(decode(files), expected)


def test_grey_becomes_colour_only_if_another_image_has_colour() -> None:
    grey, colour = noise(2, 8, 1), noise(1, 8, 3)
    files = [encoded(image) for image in grey]
    assert np.array_equal(decode(files), grey)
    mixed = decode([*files, encoded(colour[0])])
    assert np.array_equal(mixed[:2], grey.repeat(3, axis=3))
    assert np.array_equal(mixed[2], colour[0])


def test_palettes_transparency_and_bits() -> None:
    colour = noise(1, 8)[0]
    palette = Image.fromarray(colour).quantize(256)
    see_through = Image.fromarray(colour)
    see_through.putalpha(100)
    bits = Image.fromarray(np.eye(8, dtype=bool))
    images = decode([saved(palette), saved(see_through), saved(bits)])
    assert np.array_equal(images[0], np.asarray(palette.convert("RGB")))
    assert np.array_equal(images[1], colour)
    assert np.array_equal(images[2, :, :, 0], 255 * np.eye(8))


def test_deep_images_are_refused_not_clipped() -> None:
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(DataError, match="file 1 has more than 8 bits"):
        decode([encoded(noise(1, 8, 1)[0]), saved(deep)])


def test_threads_do_not_change_the_result() -> None:
    images = noise(20, 8)
    files = [encoded(image) for image in images]
    assert np.array_equal(decode(files, chunk=3, threads=True), images)
    files[7] = files[13] = b"nothing"
    with pytest.raises(DataError, match="file 7 "):
        decode(files, chunk=3, threads=True)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("position", [0, 2])
def test_truncated(form: str, position: int) -> None:
    files = [encoded(image, form) for image in noise(3, 32)]
    files[position] = files[position][: len(files[position]) // 2]
    with pytest.raises(DataError, match=f"file {position} cannot be decoded"):
        decode(files)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_no_image(data: bytes) -> None:
    with pytest.raises(DataError, match="file 1 cannot be decoded") as caught:
        decode([encoded(noise(1)[0]), data])
    assert "0x" not in str(caught.value)


def test_vector_and_script_formats_are_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with pytest.raises(DataError, match="cannot be decoded"):
        decode([postscript])


def test_bombs() -> None:
    file = saved(Image.new("L", (8, 8)))
    start = (
        b"IHDR" + struct.pack(">II", 30_000, 30_000) + file[24:29]
    )  # states a size without the pixels
    claimed = file[:12] + start + struct.pack(">I", zlib.crc32(start)) + file[33:]
    with pytest.raises(DataError, match=r"cannot be decoded.*bomb"):
        decode([claimed])


def test_differing_sizes_name_the_odd_one_and_all_sizes() -> None:
    files = [encoded(image) for image in [*noise(2, 9), *noise(5, 8), *noise(1, 7)]]
    with pytest.raises(DataError, match="file 0 is 9×9") as caught:
        decode(files)
    assert caught.value.expected == "images of one size, such as 8×8"
    assert caught.value.got == "width×height (images): 8×8 (5), 9×9 (2), 7×7 (1)"
    assert "resize" in (caught.value.hint or "")
