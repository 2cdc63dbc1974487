"""Images to write into the files of tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def noise(count: int, size: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images of shape (count, size, size, channels)."""
    shape = (count, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """An image file of pixels of shape (H, W, C)."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, form)
    return stream.getvalue()


def python2_pickle(value: dict[str, np.ndarray | list[int] | str]) -> bytes:
    """What Python 2 with numpy 1 wrote: text as binary strings, arrays through _reconstruct."""
    return b"\x80\x02}(" + b"".join(_string(k) + _value(v) for k, v in value.items()) + b"u."


def _string(text: str | bytes) -> bytes:
    raw = text.encode("latin1") if isinstance(text, str) else text
    return b"T" + len(raw).to_bytes(4, "little") + raw


def _integer(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little", signed=True)


def _value(value: np.ndarray | list[int] | str) -> bytes:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return b"](" + b"".join(_integer(number) for number in value) + b"e"
    rows, columns = value.shape
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01",
            _integer(rows) + _integer(columns) + b"\x86",
            b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89" + _string(value.tobytes()) + b"tb",
        ]
    )
