"""Decode image files of one size into one uint8 array."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from datacurate.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

_GREY_MODES = ("1", "L", "LA")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # more than 8 bits per channel
_THREADED_PIXELS = 64 * 64  # for smaller images threads bring no speed


def decode_images(
    count: int,
    read: Callable[[int], bytes],
    where: Callable[[int], str],
    *,
    chunk: int = 256,
    threads: bool | None = None,
) -> npt.NDArray[np.uint8]:
    """Decode images of one size.

    The result does not depend on the number of threads.

    Parameters
    ----------
    count : int
        Number of images, 1 or more.
    read : callable
        Returns the bytes of the image file at a position.
    where : callable
        Returns the name of a position for errors, such as ``"row 3 of a.parquet"``.
    chunk : int
        Number of images in one task of the thread pool.
    threads : bool, optional
        Whether to use a thread pool; by default only for images of 64×64 pixels or more.

    Returns
    -------
    ndarray of uint8, shape (count, H, W, C)
        C is 1 if every image is greyscale. Otherwise C is 3, and greyscale images are
        converted to RGB.

    Raises
    ------
    DataError
        If an image cannot be decoded, has more than 8 bits per channel, or differs in size from
        the others.
    """
    width, height = _size(read(0), where(0))
    images = np.empty((count, height, width, 3), dtype=np.uint8)
    is_colour = np.zeros(count, dtype=bool)

    def decode(start: int) -> None:
        for position in range(start, min(start + chunk, count)):
            pixels = _decode(read(position), where, position)
            if pixels.shape[:2] != (height, width):
                raise _size_error(count, read, where)
            is_colour[position] = pixels.ndim == 3
            images[position] = pixels if pixels.ndim == 3 else pixels[:, :, None]

    starts = range(0, count, chunk)
    if threads is None:
        threads = width * height >= _THREADED_PIXELS
    if not threads:
        for start in starts:
            decode(start)
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(decode, starts):  # in order, so the first error is the one raised
                pass
    return images if is_colour.any() else np.ascontiguousarray(images[..., :1])


def _decode(data: bytes, where: Callable[[int], str], position: int) -> npt.NDArray[np.uint8]:
    """Return pixels of shape (H, W) for a greyscale image, (H, W, 3) for any other."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.mode in _DEEP_MODES:
                raise DataError(
                    f"{where(position)} has more than 8 bits per channel (mode {image.mode})",
                    expected="8-bit greyscale or RGB images",
                    hint="convert the images to 8 bits",
                )
            mode = "L" if image.mode in _GREY_MODES else "RGB"
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except _UNREADABLE as error:
        raise _decoding_error(where(position), error) from error


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Return width and height of an image without decoding it."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except _UNREADABLE as error:
        raise _decoding_error(name, error) from error


# Errors that Pillow raises for broken files.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    Image.DecompressionBombError,
)


def _decoding_error(name: str, error: Exception) -> DataError:
    reason = str(error) or type(error).__name__
    if "cannot identify image file" in reason:  # Pillow's text contains a memory address
        reason = "not an image file, or damaged at its start"
    return DataError(
        f"{name} cannot be decoded: {reason}",
        expected="a complete PNG, JPEG, WebP, BMP, PPM or TIFF image",
        hint="replace or remove the damaged image",
    )


def _size_error(count: int, read: Callable[[int], bytes], where: Callable[[int], str]) -> DataError:
    """Return the error that lists all sizes and names the first image of an unusual size."""
    sizes = [_size(read(position), where(position)) for position in range(count)]
    counts = Counter(sizes).most_common()
    most_common = counts[0][0]
    odd = next(position for position, size in enumerate(sizes) if size != most_common)
    listing = ", ".join(f"{width}×{height} ({number:,})" for (width, height), number in counts[:6])
    more = f" and {len(counts) - 6:,} more" if len(counts) > 6 else ""
    return DataError(
        f"the images differ in size: {where(odd)} is {sizes[odd][0]}×{sizes[odd][1]}",
        expected=f"images of one size, such as {most_common[0]}×{most_common[1]}",
        got=f"width×height (images): {listing}{more}",
        hint="resize all images to one size before profiling",
    )
