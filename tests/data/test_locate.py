"""The places where data sets are searched for, and the errors if they are missing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from datacurate.data import known as known_module
from datacurate.data import known_names, load, load_train
from datacurate.data.known import KNOWN, Archive, KnownDataSet
from datacurate.data.locate import VARIABLE, cache_directory
from datacurate.errors import DataError, DataNotFoundError, FetchError, UnknownNameError, UsageError
from tests.data.data_files import noise
from tests.data.test_cifar import packed, write_cifar10
from tests.data.test_parquet import write as write_parquet
from tests.loopback import Server


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def archive(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A served small CIFAR-10 archive; its address and hash are in the table of data sets."""
    served = packed(write_cifar10(tmp_path / "made")).rename(server.root / "cifar-10-python.tar.gz")
    digest = hashlib.md5(served.read_bytes()).hexdigest()
    official(monkeypatch, archive=Archive(f"{server.url}/{served.name}", digest))
    return served


def official(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> KnownDataSet:
    changed = replace(KNOWN["cifar10"], **changes)
    monkeypatch.setitem(known_module.KNOWN, "cifar10", changed)
    return changed


class Hub:
    """Stands in for the Hub at the outermost call: copies a folder, or fails."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def snapshot_download(self, repository: str, **options: Any) -> str:
        self.calls.append((repository, options))
        if self.folder is None:
            raise ConnectionError("no network\nand more lines")
        if options["local_dir"] is None:
            return str(self.folder)
        shutil.copytree(self.folder, options["local_dir"])
        (options["local_dir"] / ".cache").mkdir()
        return str(options["local_dir"])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A Hub that cannot be reached until a test sets a folder."""
    made = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


def test_names() -> None:
    assert set(known_names()) == {"cifar10", "cifar100", "tiny-imagenet", "digits"}


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="no data set called 'cifar-10'") as caught:
        load("cifar-10")
    assert caught.value.hint == "did you mean 'cifar10'?"
    assert caught.value.exit_code == 2
    with pytest.raises(UnknownNameError) as caught:
        load("qqqqqqq")
    assert "./images" in (caught.value.hint or "")
    with pytest.raises(UnknownNameError, match="cifar-10"):
        load("cifar-10", Path())


@pytest.mark.parametrize(
    "name", ["./nowhere", "a/b", "~/nowhere", "x.npz", "x.parquet", "y" * 300 + "/", "a\0/b"]
)
def test_missing_paths(name: str) -> None:
    with pytest.raises(DataNotFoundError, match="there is no"):
        load(name)


def test_a_path_with_a_second_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a path or address already"):
        load(str(tmp_path), tmp_path)


def test_missing_directories_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cifar10", "digits"):
        with pytest.raises(DataNotFoundError, match="there is no"):
            load(name, tmp_path / "nowhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataNotFoundError, match="DATACURATE_DATA names"):
        load("cifar10")


def test_a_relative_path_has_the_name_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", images=noise(20, 8), labels=np.arange(20) % 2)
    monkeypatch.chdir(tmp_path)
    assert load_train("./").identity.name == tmp_path.name
    assert load_train("a.npz").identity.name == "a"


def test_order_of_places(
    tmp_path: Path, archive: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = tmp_path / "everywhere"
    inside = write_cifar10(everywhere / "cifar10")
    direct = write_cifar10(tmp_path / "direct")
    monkeypatch.setenv(VARIABLE, str(everywhere))
    given = load_train("cifar10", tmp_path / "direct")
    assert given.source["location"] == str(direct)
    assert load_train("cifar10", everywhere).source["location"] == str(inside)
    assert load_train("cifar10").source["location"] == str(inside)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "direct"))
    assert load_train("cifar10").source["location"] == str(direct)
    assert not cache_directory().exists()
    # A directory with other data is not an error; the cache is searched next.
    (tmp_path / "other").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    assert load_train("cifar10").source["location"].startswith("http://127.0.0.1")
    assert not hub.calls


def test_a_download_happens_once_and_is_recorded_by_its_address(
    archive: Path, server: Server, hub: Hub
) -> None:
    lines: list[str] = []
    first = load_train("cifar10", tell=lines.append)
    assert first.source["location"] == f"{server.url}/cifar-10-python.tar.gz"
    assert first.source["layout"] == "cifar-python"
    assert lines[0].startswith(f"downloading {server.url}")
    archive.unlink()
    again = load("cifar10")
    assert again.train.identity.pixel_fingerprint == first.identity.pixel_fingerprint
    assert server.requests == ["/cifar-10-python.tar.gz"]
    # The partial file of a killed download is not a data set.
    (cache_directory() / ".cifar-10-python.tar.gz.x.part").write_bytes(b"half")
    assert len(load_train("cifar10")) == len(first)
    (cache_directory() / ".cifar-10-python.tar.gz.x.part").unlink()
    assert [path.name for path in cache_directory().rglob("*") if path.is_file()] == [archive.name]


def test_missing_data_lists_the_places_searched(
    archive: Path, server: Server, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.unlink()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "made"))
    (tmp_path / "made" / "cifar-10-batches-py" / "test_batch").unlink()
    (tmp_path / "made" / "cifar-10-batches-py" / "data_batch_1").unlink()
    with pytest.raises(FetchError, match="CIFAR-10 is not on this machine") as caught:
        load("cifar10")
    said = str(caught.value)
    for place in (str(tmp_path / "made"), str(cache_directory()), "404", "uoft-cs/cifar10"):
        assert place in said
    assert "no network" in said
    assert "and more lines" not in said
    assert "--data DIR" in (caught.value.hint or "")
    assert list(cache_directory().iterdir()) == []


def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """A folder like the mirror on the Hub, official while the test runs."""
    folder = tmp_path / "mirror"
    images, labels = noise(20), list(np.arange(20) % 10)
    for split in ("train", "test"):
        write_parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet", images, labels)
    identity = load_train("cifar10", folder).identity
    prints = known_module.Fingerprints(identity.label_fingerprint, identity.pixel_fingerprint)
    official(
        monkeypatch,
        archive=Archive("http://127.0.0.1:9/cifar-10-python.tar.gz", "0" * 32),
        **({"sizes": {"train": 20, "test": 20}, "official": {"train": prints}} | changes),
    )
    return folder


def test_the_mirror_replaces_an_unavailable_archive(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.folder = mirror(tmp_path, monkeypatch)
    lines: list[str] = []
    data = load("cifar10", tell=lines.append)
    assert data.train.source == {"layout": "parquet", "location": "hf://datasets/uoft-cs/cifar10"}
    assert "trying the mirror on the Hub" in lines[-1]
    assert [call[0] for call in hub.calls] == ["uoft-cs/cifar10"]
    assert hub.calls[0][1]["allow_patterns"] == "*.parquet"
    hub.folder = None
    assert len(load("cifar10").test) == 20
    assert [path.name for path in cache_directory().iterdir()] == ["cifar10"]


@pytest.mark.parametrize(
    "changes",
    [
        {"sizes": {"train": 21, "test": 20}},
        {"official": {"train": known_module.Fingerprints("0" * 64, "0" * 64)}},
    ],
)
def test_a_mirror_of_something_else_is_not_kept(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    hub.folder = mirror(tmp_path, monkeypatch, **changes)
    with pytest.raises(FetchError, match="could not be downloaded") as caught:
        load("cifar10")
    assert "does not hold CIFAR-10" in (caught.value.got or "")
    assert list(cache_directory().iterdir()) == []


def test_a_data_set_on_the_hub(tmp_path: Path, hub: Hub) -> None:
    hub.folder = tmp_path / "snapshots" / "0123abcd"
    write_parquet(hub.folder / "data" / "train-00000-of-00001.parquet")
    data = load("hf://datasets/somebody/birds")
    assert data.train.identity.name == "birds"
    assert data.train.source["location"] == "hf://datasets/somebody/birds@0123abcd"
    part = load_train("hf://datasets/somebody/birds@v1.0/data")
    assert part.source["location"] == "hf://datasets/somebody/birds@0123abcd/data"
    assert [(name, options["revision"]) for name, options in hub.calls] == [
        ("somebody/birds", None),
        ("somebody/birds", "v1.0"),
    ]
    with pytest.raises(DataNotFoundError, match="there is no"):
        load_train("hf://datasets/somebody/birds/nowhere")


@pytest.mark.parametrize("address", ["hf://datasets/birds", "hf://birds", "hf:", "hf://models/a/b"])
def test_invalid_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not an address of a data set"):
        load(address)


def test_an_unreachable_hub(hub: Hub) -> None:
    with pytest.raises(FetchError, match=r"somebody/birds could not be .*: no network\n"):
        load("hf://datasets/somebody/birds")


def test_a_snapshot_without_parquet_files(tmp_path: Path, hub: Hub) -> None:
    hub.folder = tmp_path / "snapshot"
    hub.folder.mkdir()
    with pytest.raises(DataError, match="recognised as a data set"):
        load("hf://datasets/somebody/birds")
