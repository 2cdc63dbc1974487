"""Read pickled dictionaries of arrays without running anything that a pickle asks for.

A pickle is a program that may call any function it names. Those of CIFAR need four: three that
rebuild a numpy array and one that turns text into bytes. Even these are not called: each name is
replaced by a function of this module that checks its arguments, and every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from datacurate.errors import DataError

_INTEGERS = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}


def load_arrays(data: bytes, name: str) -> dict[str, Any]:
    """Return the dictionary in a pickle, with its keys as text.

    Parameters
    ----------
    data : bytes
        The pickle; written by Python 2 or 3, in any protocol.
    name : str
        What an error calls it.

    Returns
    -------
    dict
        Values are arrays of integers, or the built-in values of the pickle: numbers, bytes,
        text, lists, tuples.

    Raises
    ------
    DataError
        If the pickle names anything but the parts of numpy arrays, is damaged, or holds no
        dictionary.
    """
    try:
        value = _Unpickler(io.BytesIO(data), name).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle fails in any way its bytes happen to spell
        raise DataError(
            f"{name} cannot be read as a pickle: {str(error) or type(error).__name__}",
            hint="get the file again from its source",
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{name} does not hold a dictionary", got=type(value).__name__)
    return {_text(key): _unwrapped(item, name) for key, item in value.items()}


class _DType:
    """Stands for a numpy dtype while unpickling."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, …); all that an integer type can vary in is the byte order.
        if not isinstance(state, tuple) or len(state) < 2 or _text(state[1]) not in "<>|=":
            raise ValueError("the state of a dtype is not that of an integer type")
        self.code = _text(state[1]).replace("=", "<") + self.code[-2:]


class _Array:
    """Stands for a numpy array while unpickling."""

    def __init__(self) -> None:
        self.array: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise ValueError("an array is not made of integers")
    shape = tuple(int(extent) for extent in shape)
    kind = np.dtype(dtype.code)
    if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} does not fit its {len(data):,} bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _dtype(code: Any, *_: Any) -> _DType:
    if _text(code) not in _INTEGERS:
        raise ValueError(f"an array of type {_text(code)!r} instead of integers")
    return _DType("<" + _text(code))


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.array = _array(data, dtype, shape, _text(order))
    return made


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or _text(encoding) != "latin1":
        raise ValueError("an encoding other than latin1")
    return text.encode("latin1")


def _bytes(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes made from something")
    return b""  # how protocol 2 writes empty bytes


# Functions and text only, never a class: opcodes that make objects without a call need a class.
_ADMITTED: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _bytes,
    ("builtins", "bytes"): _bytes,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, name: str) -> None:
        # Python 2 wrote text as bytes of no stated encoding.
        super().__init__(stream, encoding="bytes")
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise DataError(
                f"{self._name} asks to load {module}.{name}, which was refused",
                expected="a dictionary of numbers, text and numpy arrays",
                hint="the file is not what it should be; do not open it with anything else",
            )
        return _ADMITTED[module, name]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, str):
        return value
    raise ValueError(f"{type(value).__name__} instead of text")


def _unwrapped(value: Any, name: str) -> Any:
    if isinstance(value, _Array):
        if value.array is None:
            raise DataError(f"{name} holds an array without content")
        return value.array
    return value
