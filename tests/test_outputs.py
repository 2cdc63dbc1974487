"""Outputs: what is there stays whole until the new is complete, and one process writes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from datacurate.errors import OutputBusyError, OutputError, OutputExistsError
from datacurate.outputs import atomic_path, only_writer, refuse_existing, write_json


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_result_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_json(tmp_path / "result", {"a": 1})
    assert (tmp_path / "result").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"), atomic_path(tmp_path / "a/b"):
        pass
    # A device without space, as a full disk is met by a writer.
    full = Path("/dev/full")
    if full.exists():
        with (
            pytest.raises(OutputError, match="No space left"),
            atomic_path(tmp_path / "x"),
            full.open("w") as stream,
        ):
            stream.write("a")
            stream.flush()
    assert list(tmp_path.iterdir()) == []


def test_refusals(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    with pytest.raises(OutputExistsError, match="exists already"):
        refuse_existing(there)
    refuse_existing(there, force=True)
    with pytest.raises(OutputExistsError, match="is a directory"):
        refuse_existing(tmp_path, force=True)
    with pytest.raises(OutputError, match="there is no directory"):
        refuse_existing(tmp_path / "no" / "file")


def test_a_killed_writer_frees_the_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from datacurate.outputs import only_writer\n"
        f"with only_writer(Path({str(tmp_path / 'lock')!r}), 'x'):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(OutputBusyError, match="another process"),
        only_writer(tmp_path / "lock", "x"),
    ):
        pass
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + 5
    while True:
        try:
            with only_writer(tmp_path / "lock", "x"):
                return
        except OutputBusyError:
            assert time.monotonic() < deadline
