"""Downloads are whole and right, or leave nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Server

from datacurate.data import download as module
from datacurate.data.download import download
from datacurate.errors import FetchError, OutputError

DATA = bytes(range(256)) * 5000
SUM = hashlib.md5(DATA).hexdigest()


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


def test_the_file_arrives_and_progress_is_told(
    server: Server, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 100_000)
    lines: list[str] = []
    download(f"{server.url}/file", place / "file", md5=SUM, tell=lines.append)
    assert (place / "file").read_bytes() == DATA
    assert list(place.iterdir()) == [place / "file"]
    assert lines[0] == f"downloading {server.url}/file (1 MB)"
    assert lines[-1] == "downloaded 100 %"
    assert len(lines) <= 11


@pytest.mark.parametrize("existing", [b"what was there", None])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", r"could not be downloaded: the server answered 404"),
        ("cut-file", "cut off"),
        ("other", "is not the official one"),
    ],
)
def test_failures_leave_everything_as_it_was(
    server: Server, place: Path, name: str, message: str, existing: bytes | None
) -> None:
    (server.root / "other").write_bytes(DATA[1:])
    if existing is not None:
        (place / "file").write_bytes(existing)
    with pytest.raises(FetchError, match=message):
        download(f"{server.url}/{name}", place / "file", md5=SUM)
    assert [path.read_bytes() for path in place.iterdir()] == ([existing] if existing else [])


def test_wrong_bytes_show_both_sums(server: Server, place: Path) -> None:
    with pytest.raises(FetchError) as caught:
        download(f"{server.url}/file", place / "file", md5="0" * 32)
    assert caught.value.expected == "MD5 " + "0" * 32
    assert caught.value.got == f"MD5 {SUM}"
    assert "--data DIR" in (caught.value.hint or "")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/file", "http://nowhere.invalid/file"])
def test_no_network(place: Path, address: str) -> None:
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        download(address, place / "file", md5=SUM)
    assert "network" in (caught.value.hint or "")
    assert not list(place.iterdir())


def test_a_place_that_cannot_be_written(server: Server, place: Path) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        download(f"{server.url}/file", place / "nowhere" / "file", md5=SUM)
    assert not server.requests


def test_a_silent_server_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(FetchError, match="timed out"):
            download(f"http://127.0.0.1:{port}/file", place / "file", md5=SUM)
    assert not list(place.iterdir())
