"""The unpickler reads CIFAR's dictionaries and runs nothing."""

from __future__ import annotations

import builtins
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datacurate.errors import DataError
from datacurate.formats.pickles import load_arrays
from tests.data.data_files import python2_pickle

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 12), dtype=np.uint8)


OFFICIAL = python2_pickle({"data": PIXELS, "labels": [6, 9, 0, 2], "batch_label": "training batch"})


def test_python_2() -> None:
    data = OFFICIAL
    # The independent reader agrees that the bytes above are what they are meant to be.
    assert np.array_equal(pickle.loads(data, encoding="bytes")[b"data"], PIXELS)
    content = load_arrays(data, "batch")
    assert np.array_equal(content["data"], PIXELS)
    assert content["labels"] == [6, 9, 0, 2]
    assert content["batch_label"] == b"training batch"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_python_3(protocol: int, order: str) -> None:
    wide = np.asarray([1, -2, 300], dtype=">i4")
    value = {
        b"data": np.asarray(PIXELS, order=order),  # type: ignore[call-overload]
        "labels": [1, 2, 3, 4],
        b"empty": b"",
        b"wide": wide,
        b"name": b"\xff\x00",
    }
    content = load_arrays(pickle.dumps(value, protocol), "batch")
    assert np.array_equal(content["data"], PIXELS)
    assert content["data"].dtype == np.uint8
    assert content["wide"].tolist() == [1, -2, 300]
    assert (content["labels"], content["empty"]) == ([1, 2, 3, 4], b"")
    assert content["name"] == b"\xff\x00"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that would leave a file behind, or reach for what could."""
    write = f"open({str(mark)!r}, 'w').close()"
    dumped = {
        "system": Calls(os.system, f"touch {mark}"),
        "eval": Calls(builtins.eval, write),
        "exec": Calls(builtins.exec, write),
        "open": Calls(builtins.open, str(mark), "w"),
        "import": Calls(builtins.__import__, "os"),
        "getattr": Calls(getattr, Calls(builtins.__import__, "os"), "system"),
        "numpy.load": Calls(np.load, str(mark)),
        "numpy.save": Calls(np.save, str(mark), 1),
        "numpy.fromfile": Calls(np.fromfile, str(mark)),
        "object": object(),
        "numpy scalar": np.float64(1),
    }
    by_hand = {
        "posix": b"cposix\nsystem\n(S'touch %s'\ntR." % str(mark).encode(),
        "inst": b"(S'touch %s'\nios\nsystem\n." % str(mark).encode(),
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        "dotted dtype": b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
        "numpy module": b"cnumpy\nsys\n.",
        "object array": (
            b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01b"
            b"tR(K\x01K\x01\x85cnumpy\ndtype\n(U\x02O8K\x00K\x01tRK\x00]Natbs."
        ),
        "class from a function": b"\x80\x02cnumpy\ndtype\n)\x81.",
        "reconstruct called as a class": b"\x80\x02cnumpy\nndarray\n(S'x'\ntR.",
        "persistent": b"Pos.system\n.",
        "extension": b"\x82\x01.",
        "codec": b"c_codecs\nencode\n(S'import os'\nS'zlib'\ntR.",
    }
    for data in by_hand.values():
        pickletools.dis(data, out=open(os.devnull, "w"))  # noqa: SIM115 - they are well-formed
    return {name: pickle.dumps(value, 2) for name, value in dumped.items()} | by_hand


@pytest.mark.parametrize("name", hostile(Path("mark")))
@pytest.mark.parametrize("alone", [True, False])
def test_hostile_pickles_are_refused_and_do_nothing(
    name: str, alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = hostile(tmp_path / "mark")[name]
    if not alone:  # hidden inside a dictionary that is otherwise as it should be
        data = OFFICIAL[:-2] + b"U\x01x" + data.removeprefix(b"\x80\x02")[:-1] + b"u."
        data = data.replace(b"\x80\x04", b"")
    with pytest.raises(DataError):
        load_arrays(data, "batch")
    assert not list(tmp_path.iterdir())


def test_the_refusal_names_the_file_and_what_it_asked_for() -> None:
    with pytest.raises(DataError, match=r"data_batch_1 asks to load posix\.system"):
        load_arrays(pickle.dumps(Calls(os.system, "true")), "data_batch_1")


@pytest.mark.parametrize("length", [0, 1, 10, 40, 90, 130])
def test_truncated(length: int) -> None:
    with pytest.raises(DataError, match="cannot be read as a pickle"):
        load_arrays(OFFICIAL[:length], "batch")


def test_arrays_that_do_not_fit_their_bytes() -> None:
    data = python2_pickle({"data": PIXELS})
    rows = (4).to_bytes(4, "little")
    data = data.replace(b"J" + rows + b"J", b"J" + (5).to_bytes(4, "little") + b"J")
    with pytest.raises(DataError, match="does not fit"):
        load_arrays(data, "batch")


def test_arrays_of_other_types_are_refused() -> None:
    for array in (np.ones(3), np.array(["a"]), np.array([object()]), np.zeros(2, "u1,i4")):
        with pytest.raises(DataError):
            load_arrays(pickle.dumps({"data": array}), "batch")


def test_no_dictionary() -> None:
    with pytest.raises(DataError, match="does not hold a dictionary"):
        load_arrays(pickle.dumps([1, 2]), "batch")
    hollow = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(NNNtRs."
    with pytest.raises(DataError, match="without content"):
        load_arrays(hollow, "batch")
