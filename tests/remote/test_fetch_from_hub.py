"""Ranks from a repository, and the result of each network fault."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from datacurate.errors import DatacurateError, FetchError, UnreachableError, UsageError
from datacurate.formats import rankfile
from datacurate.publishing.fetching import fetch_from
from datacurate.remote.hub import dataset_snapshot
from tests.made_ranks import made_rank_file
from tests.remote.hub_server import EXPIRED_TOKEN, READER_TOKEN, Fault, Hub

FILE = "made.ranks.h5"


@pytest.fixture
def payload(tmp_path: Path) -> bytes:
    rankfile.write(tmp_path / "original.ranks.h5", made_rank_file())
    return (tmp_path / "original.ranks.h5").read_bytes()


def files(payload: bytes) -> dict[str, bytes]:
    sums = f"{hashlib.sha256(payload).hexdigest()}  {FILE}\n"
    return {FILE: payload, "SHA256SUMS": sums.encode(), "README.md": b"---\n---\n"}


@pytest.fixture
def commit(hub: Hub, payload: bytes) -> str:
    return hub.add("some/ranks", files(payload))


def test_the_file_is_pinned_and_downloaded_once(hub: Hub, commit: str, payload: bytes) -> None:
    lines: list[str] = []
    found = fetch_from("some/ranks", "made", tell=lines.append)
    assert found.path.read_bytes() == payload
    assert found.origin == f"hf://datasets/some/ranks@{commit}/{FILE}"
    assert found.content_sha256 == rankfile.read(found.path).content_sha256
    assert len(lines) == 1
    assert not hub.leaked
    asked = len(hub.requests)
    again = fetch_from("some/ranks", "made", commit)
    assert again == found
    assert len(hub.requests) == asked  # a commit never changes, so no request is made


def test_revisions(hub: Hub, commit: str, payload: bytes, tmp_path: Path) -> None:
    rankfile.write(tmp_path / "new.ranks.h5", made_rank_file(number=1))
    newer = (tmp_path / "new.ranks.h5").read_bytes()
    later = hub.add("some/ranks", files(newer))
    assert fetch_from("some/ranks", "made").path.read_bytes() == newer
    assert fetch_from("some/ranks", "made", commit).path.read_bytes() == payload
    assert fetch_from("some/ranks", "made", "main").origin.split("@")[1].startswith(later)


@pytest.mark.parametrize("fragment", ["/api/datasets", "/resolve/", "/storage/"])
@pytest.mark.parametrize("kind", [429, 503, 500, "drop", "slow", "cut"])
def test_temporary_faults_are_retried(
    hub: Hub, commit: str, payload: bytes, fragment: str, kind: int | str
) -> None:
    for method in ("GET", "HEAD"):
        hub.faults.append(Fault(method, fragment, kind))
    assert fetch_from("some/ranks", "made").path.read_bytes() == payload
    assert any(fault.times == 0 for fault in hub.faults)


@pytest.mark.parametrize("kind", [429, 503, "drop"])
def test_permanent_faults_are_errors(hub: Hub, commit: str, kind: int | str) -> None:
    for method in ("GET", "HEAD"):
        hub.faults.append(Fault(method, "/", kind, times=1000))
    with pytest.raises(FetchError, match="some/ranks") as caught:
        fetch_from("some/ranks", "made")
    assert caught.value.hint
    assert "\n" not in caught.value.what


def test_one_wrong_byte_is_fetched_again(hub: Hub, commit: str, payload: bytes) -> None:
    hub.faults.append(Fault("GET", "/storage/", "wrong"))
    lines: list[str] = []
    assert fetch_from("some/ranks", "made", tell=lines.append).path.read_bytes() == payload
    assert any("downloading it again" in line for line in lines)
    # Damage in the cache is found too.
    path = fetch_from("some/ranks", "made", commit).path
    path.resolve().write_bytes(payload[:-1])
    assert fetch_from("some/ranks", "made", commit).path.read_bytes() == payload


def test_repeated_wrong_bytes_show_both_hashes(hub: Hub, commit: str, payload: bytes) -> None:
    hub.faults.append(Fault("GET", "/storage/", "wrong", times=1000))
    with pytest.raises(FetchError, match="has an unexpected hash") as caught:
        fetch_from("some/ranks", "made")
    assert caught.value.expected == f"sha256 {hashlib.sha256(payload).hexdigest()}"
    spoiled = payload[:-1] + bytes([payload[-1] ^ 1])
    assert caught.value.got == f"sha256 {hashlib.sha256(spoiled).hexdigest()}"


@pytest.mark.parametrize(
    ("repository", "name", "revision", "message"),
    [
        ("nobody/nothing", "made", None, "no such repository, or it is private"),
        ("some/ranks", "made", "v9", "no such revision"),
        ("some/ranks", "made", "0" * 40, "no such revision"),
        ("some/ranks", "other", None, f"has no file other.ranks.h5\n  got:      '{FILE}'"),
        ("some/ranks", "a/made", None, "is not a valid name"),
        ("some/ranks", "../made", None, "is not a valid name"),
        ("some/ranks", "..", None, "is not a valid name"),
        ("some/ranks", "/etc/made", None, "is not a valid name"),
        ("some/ranks", "", None, "is not a valid name"),
        ("some/ranks/../x", "made", None, "is not a repository"),
        ("../../x", "made", None, "is not a repository"),
        ("ranks", "made", None, "is not a repository"),
        ("http://127.0.0.1/x", "made", None, "is not a repository"),
    ],
)
def test_bad_input(
    hub: Hub, commit: str, repository: str, name: str, revision: str | None, message: str
) -> None:
    with pytest.raises(DatacurateError) as caught:
        fetch_from(repository, name, revision)
    assert message in str(caught.value)
    assert isinstance(caught.value, UsageError) == ("is not a " in message)


def test_tokens(hub: Hub, payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("some/secret", files(payload), private=True)
    assert fetch_from("some/secret", "made").path.is_file()
    for token, message in (
        (READER_TOKEN, "no such repository, or it is private"),
        (EXPIRED_TOKEN, "does not accept the token"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(FetchError, match=message) as caught:
            fetch_from("some/secret", "made")
        assert token not in str(caught.value)
        assert "HF_TOKEN" in (caught.value.hint or "")


def test_without_a_network_the_cache_is_used_with_a_message(
    hub: Hub,
    commit: str,
    payload: bytes,
    monkeypatch: pytest.MonkeyPatch,
    second_cache: Callable[[], None],
) -> None:
    fetch_from("some/ranks", "made")
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    lines: list[str] = []
    with monkeypatch.context() as away:
        away.setattr(constants, "ENDPOINT", nobody)
        found = fetch_from("some/ranks", "made", tell=lines.append)
    assert found.path.read_bytes() == payload
    assert any("using the cached files" in line and commit in line for line in lines)
    with monkeypatch.context() as told:
        told.setattr(constants, "HF_HUB_OFFLINE", True)
        lines.clear()
        assert fetch_from("some/ranks", "made", tell=lines.append).path == found.path
        assert "HF_HUB_OFFLINE is set" in lines[0]
        second_cache()
        with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE is set"):
            fetch_from("some/ranks", "made")
    monkeypatch.setattr(constants, "ENDPOINT", nobody)
    with pytest.raises(UnreachableError, match="some/ranks"):
        fetch_from("some/ranks", "made")


def test_a_repository_must_state_its_hashes(hub: Hub, payload: bytes) -> None:
    for sums in (b"", b"no sums", b"\xff\xfe", b"0" * 64 + b"  ../" + FILE.encode()):
        hub.add("some/bare", {FILE: payload, "SHA256SUMS": sums})
        with pytest.raises(FetchError, match="has no hash of"):
            fetch_from("some/bare", "made")
    hub.add("some/none", {FILE: payload})
    with pytest.raises(FetchError, match="no such file"):
        fetch_from("some/none", "made")


def test_a_file_that_is_not_a_rank_file(hub: Hub) -> None:
    hub.add("some/fake", files(b"anything with the right hash"))
    with pytest.raises(DatacurateError, match="is not a rank file"):
        fetch_from("some/fake", "made")


@pytest.mark.parametrize("path", ["../../escaped.parquet", "/escaped.parquet", "a/../../b.parquet"])
def test_a_list_of_files_that_leaves_the_folder(hub: Hub, tmp_path: Path, path: str) -> None:
    hub.add("some/images", {"train.parquet": b"x"})
    hub.repositories["some/images"].listed[path] = ""
    before = {place for place in tmp_path.rglob("*") if place.is_file()}
    for folder in (None, tmp_path / "folder"):
        with pytest.raises(FetchError, match="some/images"):
            dataset_snapshot("some/images", folder=folder)
    escaped = [p for p in tmp_path.rglob("*.parquet") if p not in before]
    assert all("hf" in p.parts or "folder" in p.parts for p in escaped)
    assert not any("escape" in p.name or p.name == "b.parquet" for p in escaped)
