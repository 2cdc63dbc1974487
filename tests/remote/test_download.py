"""A download is complete and correct, or leaves only a part from which to continue."""

from __future__ import annotations

import fcntl
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from datacurate.errors import FetchError, OutputError
from datacurate.remote.download import download, retry_after
from tests.loopback import Server

DATA = bytes(range(256)) * 5000
SUM = "md5:" + hashlib.md5(DATA).hexdigest()
PART = f".file.{SUM[4:16]}.part"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "served") as running:
        (running.root / "file").write_bytes(DATA)
        (running.root / "cut-file").write_bytes(DATA)
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, recorded instead of slept."""
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def test_the_file_arrives_and_progress_is_reported(server: Server, place: Path) -> None:
    lines: list[str] = []
    download(f"{server.url}/file", place / "file", SUM, tell=lines.append, block=100_000)
    assert (place / "file").read_bytes() == DATA
    assert list(place.iterdir()) == [place / "file"]
    assert lines[0] == f"downloading {server.url}/file (1 MB)"
    assert lines[-1] == "downloaded 100 %"
    assert len(lines) <= 11
    download(f"{server.url}/file", place / "other", "sha256:" + hashlib.sha256(DATA).hexdigest())


@pytest.mark.parametrize(
    "faults",
    [
        [429],
        [503, 500, 502, 504],
        ["cut"],
        ["cut", "cut", 503, "cut", "reset"],
        ["cut", "whole"],
        ["reset"],
        ["wrong"],
        ["cut", "wrong"],
    ],
)
@pytest.mark.parametrize("size", [len(DATA), None])
def test_temporary_failures_are_retried(
    server: Server, place: Path, faults: list[int | str], size: int | None
) -> None:
    server.faults = [*faults]
    download(f"{server.url}/file", place / "file", SUM, size=size)
    assert (place / "file").read_bytes() == DATA
    assert list(place.iterdir()) == [place / "file"]
    assert len(server.requests) == len([fault for fault in faults if fault != "whole"]) + 1
    if faults == ["cut"]:
        assert server.ranges == [None, f"bytes={len(DATA) // 2}-"]


@pytest.mark.parametrize("existing", [b"what was there", None])
@pytest.mark.parametrize(
    ("name", "message", "requests"),
    [
        ("absent", r"could not be downloaded: the server answered 404", 1),
        ("other", "has an unexpected hash", 2),
        ("longer", "has an unexpected hash", 2),
    ],
)
def test_failures_change_nothing(
    server: Server, place: Path, name: str, message: str, requests: int, existing: bytes | None
) -> None:
    (server.root / "other").write_bytes(DATA[:-1] + b"x")
    (server.root / "longer").write_bytes(DATA * 2)
    if existing is not None:
        (place / "file").write_bytes(existing)
    with pytest.raises(FetchError, match=message):
        download(f"{server.url}/{name}", place / "file", SUM, size=len(DATA))
    assert [path.read_bytes() for path in place.iterdir()] == ([existing] if existing else [])
    assert len(server.requests) == requests


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_never_recovers_is_given_up(
    server: Server, place: Path, status: int, waits: list[float]
) -> None:
    server.faults = [status] * 10
    with pytest.raises(FetchError, match=f"the server answered {status}") as caught:
        download(f"{server.url}/file", place / "file", SUM)
    assert "5 attempts" in (caught.value.got or "")
    assert waits == [0.5, 1, 2, 4]
    assert not list(place.iterdir())


def test_the_wait_that_a_server_asks_for_is_limited() -> None:
    for asked, waited in (("7", 7.0), ("86400", 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)):
        assert retry_after({"Retry-After": asked}) == waited


def test_received_bytes_are_kept_for_the_next_attempt(server: Server, place: Path) -> None:
    with pytest.raises(FetchError, match="the download stopped after") as caught:
        download(f"{server.url}/cut-file", place / "file", SUM)
    assert "run the command again to continue" in (caught.value.hint or "")
    kept = (place / PART).read_bytes()
    assert 0 < len(kept) < len(DATA)
    assert DATA.startswith(kept)
    server.ranges.clear()
    download(f"{server.url}/file", place / "file", SUM)
    assert server.ranges == [f"bytes={len(kept)}-"]
    assert (place / "file").read_bytes() == DATA
    assert list(place.iterdir()) == [place / "file"]


@pytest.mark.parametrize("kept", [b"of another file", DATA + b"more", DATA[:-1] + b"x"])
@pytest.mark.parametrize("size", [len(DATA), None])
def test_a_wrong_partial_file_is_not_continued(
    server: Server, place: Path, kept: bytes, size: int | None
) -> None:
    (place / PART).write_bytes(kept)
    download(f"{server.url}/file", place / "file", SUM, size=size)
    assert (place / "file").read_bytes() == DATA
    assert list(place.iterdir()) == [place / "file"]


def test_the_partial_file_of_another_process_is_not_touched(server: Server, place: Path) -> None:
    with (place / PART).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"theirs")
        other.flush()
        download(f"{server.url}/file", place / "file", SUM)
        assert (place / "file").read_bytes() == DATA
        assert (place / PART).read_bytes() == b"theirs"
        assert len(list(place.iterdir())) == 2


def test_wrong_bytes_show_both_sums(server: Server, place: Path) -> None:
    with pytest.raises(FetchError) as caught:
        download(f"{server.url}/file", place / "file", "md5:" + "0" * 32)
    assert caught.value.expected == "md5 " + "0" * 32
    assert caught.value.got == SUM.replace(":", " ")
    assert len(server.requests) == 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/file", "http://nowhere.invalid/file"])
def test_a_missing_network_is_reported_at_once(
    place: Path, address: str, waits: list[float]
) -> None:
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        download(address, place / "file", SUM)
    assert "network" in (caught.value.hint or "")
    assert not list(place.iterdir())
    assert not waits


def test_an_unwritable_target_is_refused(server: Server, place: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        download(f"{server.url}/file", place / "nowhere" / "file", SUM)
    assert not server.requests


def test_a_silent_server_is_given_up(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(FetchError, match="timed out"):
            download(f"http://127.0.0.1:{port}/file", place / "file", SUM, timeout=0.2)
    assert not list(place.iterdir())
