"""Outputs: an old file stays until the new one is complete, and one process writes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datacurate.errors import OutputBusyError, OutputError, OutputExistsError
from datacurate.outputs import (
    atomic_directory,
    atomic_path,
    only_writer,
    refuse_existing,
    write_json,
)


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


def test_an_unwritable_path_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"), atomic_path(tmp_path / "a/b"):
        pass
    # A device without free space, like a full disk.
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


def test_existing_outputs_are_refused(tmp_path: Path) -> None:
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


@contextlib.contextmanager
def writing(target: Path, what: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is writing `target`; it finishes when it receives a byte."""
    code = (
        "import sys; from pathlib import Path; from datacurate.outputs import *\n"
        f"with {what}:\n"
        "    (temporary / 'x' if temporary.is_dir() else temporary).write_text('theirs')\n"
        "    print('half', flush=True); sys.stdin.read(1)"
    ).replace("TARGET", f"Path({str(target)!r})")
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


FILE = "atomic_path(TARGET) as temporary"
DIRECTORY = "atomic_directory(TARGET, 'x', force=True) as temporary"


@pytest.mark.parametrize("what", [FILE, DIRECTORY])
def test_files_of_a_killed_writer_are_removed_by_the_next_write(tmp_path: Path, what: str) -> None:
    target = tmp_path / "result"
    with writing(target, what) as killed:
        killed.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".result.")
    # Files of another target, of an unfinished download, and of a directory moved aside.
    others = [".result.x.abcd1234.part", ".result.0123456789ab.part", ".result.abcd1234.old"]
    for name in [*others, ".other.abcd1234.part"]:
        (tmp_path / name).write_text("precious")
    with writing(target, what) as living:
        before = set(tmp_path.iterdir())
        if what == FILE:
            write_json(target, 1)
        else:
            with atomic_directory(target, "x") as temporary:
                (temporary / "x").write_text("ours")
        assert before - set(tmp_path.iterdir()) == {left}
        living.communicate(b".")
        assert living.returncode == 0
    assert (target if what == FILE else target / "x").read_text() == "theirs"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"result", *others, ".other.abcd1234.part"}


def test_a_failed_write_keeps_abandoned_files(tmp_path: Path) -> None:
    abandoned = tmp_path / ".result.abcd1234.part"
    abandoned.write_text("half")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "result"):
        _ = 1 / 0
    assert abandoned.exists()
    write_json(tmp_path / "result", 1)
    assert not abandoned.exists()


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("x")
    (tmp_path / ".result.abcd1234.part").symlink_to(precious)
    write_json(tmp_path / "result", 1)
    assert (precious / "x").exists()
