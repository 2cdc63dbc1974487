"""Published ranks by name: the registry, its sources, and prune with a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

from datacurate import cli
from datacurate.data.known import KNOWN, official_identity
from datacurate.errors import FetchError, FileError, UnknownNameError, UsageError
from datacurate.formats import indexfile, rankfile
from datacurate.publishing import fetching
from datacurate.remote.artifacts import artifacts_directory
from datacurate.remote.registry import load
from tests.loopback import Server
from tests.made_ranks import made_rank_file
from tests.remote.hub_server import Hub

N = 1_437  # the digits' training examples: a small data set with published fingerprints


def toml(value: Any) -> str:
    return json.dumps(value)


class Registry:
    """A registry in a folder, used in place of the package's registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = "format = 1\n"
        folder.mkdir()
        self.write()

    def write(self) -> None:
        (self.folder / "registry.toml").write_text(self.text)

    def add(self, name: str, content: str, *sources: dict[str, Any], **more: Any) -> None:
        values = {
            "summary": f"the ranks {name}",
            "dataset": "digits",
            "split": "train",
            "examples": N,
            "recipe": "smoke",
            "runs": 2,
            "content_sha256": content,
            **more,
        }
        lines = [f"{key} = {toml(value)}" for key, value in values.items()]
        self.text += f"\n[ranks.{name}]\n" + "\n".join(lines) + "\n"
        for source in sources:
            lines = [f"{key} = {toml(value)}" for key, value in source.items()]
            self.text += f"\n[[ranks.{name}.sources]]\n" + "\n".join(lines) + "\n"
        self.write()

    def bundled(self, name: str, **more: Any) -> bytes:
        """Add a rank file of made up ranks that ships with the package."""
        path = self.folder / f"{name}.ranks.h5"
        content = rankfile.write(path, made_rank_file())
        self.add(name, content, {"kind": "bundled", "file": path.name, **pin(path)}, **more)
        return path.read_bytes()


def pin(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("DATACURATE_ARTIFACTS", str(tmp_path / "artifacts"))
    return Registry(tmp_path / "artifacts")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def upstream(registry: Registry, server: Server) -> Path:
    """An array of ranks of the digits in the authors' format, registered as ``cifar10``."""
    path = server.root / "prob_rank.npy"
    np.save(path, np.random.default_rng(0).permutation(N) / N)
    source = {"kind": "upstream", "url": f"{server.url}/{path.name}", **pin(path)}
    same = {"summary": "what the authors published", "origin": "https://somewhere/prob_rank.npy"}
    registry.add("probe", "0" * 64, source, **same)
    with pytest.raises(FetchError) as caught:
        fetching.fetch("probe")
    content = (caught.value.got or "").split()[-1]
    registry.text = "format = 1\n"
    registry.add("cifar10", content, source, **same)
    for made in fetching.ranks_cache().rglob("*"):
        if made.is_file():
            made.unlink()
    server.requests.clear()
    return path


def test_the_registry_of_the_package_is_valid() -> None:
    entries = load(artifacts_directory())
    entry = entries["cifar10"]
    assert entry.sources[0].sha256.startswith("b2613e5a")
    assert entry.examples == KNOWN[entry.dataset].sizes[entry.split]
    for each in entries.values():
        for source in each.sources:
            if source.kind == "bundled":
                path = artifacts_directory() / source.file
                assert pin(path) == {"size": source.size, "sha256": source.sha256}
                assert rankfile.read(path).content_sha256 == each.content_sha256


def test_the_published_file_gives_the_registered_ranks(
    upstream_npy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authors' file, served on this machine under the registry's hashes."""
    text = (artifacts_directory() / "registry.toml").read_text()
    entry = load()["cifar10"]
    place = fetching.ranks_cache() / entry.sources[0].sha256[:16]
    place.mkdir(parents=True)
    raw = place / "prob_rank.npy"
    raw.write_bytes(upstream_npy.read_bytes())
    found = fetching.fetch("cifar10")
    assert found.content_sha256 == entry.content_sha256
    ranks = rankfile.read(found.path)
    assert np.array_equal(ranks.columns["problematic_rank"], np.load(upstream_npy))
    # With one byte changed it is neither used from the cache nor taken from a server.
    found.path.unlink()
    data = bytearray(upstream_npy.read_bytes())
    data[1000] ^= 1
    raw.write_bytes(data)
    with Server(tmp_path / "served") as server:
        (server.root / "prob_rank.npy").write_bytes(data)
        registry = Registry(tmp_path / "artifacts")
        registry.text = text.replace(
            f'url = "{entry.sources[0].url}"', f'url = "{server.url}/prob_rank.npy"'
        )
        registry.write()
        monkeypatch.setenv("DATACURATE_ARTIFACTS", str(registry.folder))
        with pytest.raises(FetchError, match="has an unexpected hash") as caught:
            fetching.fetch("cifar10")
        assert caught.value.expected == f"sha256 {entry.sources[0].sha256}"
        assert len(server.requests) == 2
        (server.root / "prob_rank.npy").write_bytes(upstream_npy.read_bytes())
        # A mirror gives the same ranks.
        assert fetching.fetch("cifar10").content_sha256 == entry.content_sha256


def test_the_authors_file_is_imported_once(upstream: Path, server: Server) -> None:
    found = fetching.fetch("cifar10")
    ranks = rankfile.read(found.path)
    assert np.array_equal(ranks.columns["problematic_rank"], np.load(upstream))
    assert ranks.provenance.source["url"] == "https://somewhere/prob_rank.npy"
    assert ranks.provenance.parents[0]["sha256"] == pin(upstream)["sha256"]
    fingerprint = official_identity("digits", "train").label_fingerprint
    assert ranks.identity.label_fingerprint == fingerprint
    upstream.unlink()
    assert fetching.fetch("cifar10") == found
    assert server.requests == ["/prob_rank.npy"]
    # A damaged file in the cache is imported again from the cached array.
    found.path.write_bytes(found.path.read_bytes()[:-100])
    assert fetching.fetch("cifar10") == found


def test_offline_uses_the_cache_and_reports_missing_files(
    upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as told:
        told.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(FetchError, match="HF_HUB_OFFLINE is set"):
            fetching.fetch("cifar10")
    found = fetching.fetch("cifar10")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetching.fetch("cifar10") == found


def test_sources_are_tried_in_turn(registry: Registry, hub: Hub, server: Server) -> None:
    data = registry.bundled("spare")
    path = registry.folder / "spare.ranks.h5"
    content = rankfile.read(path).content_sha256
    commit = hub.add("some/ranks", {"made.ranks.h5": data})
    gone = {"kind": "upstream", "url": f"{server.url}/absent.npy", **pin(path)}
    there = {
        "kind": "hub",
        "repository": "some/ranks",
        "revision": commit,
        "file": "made.ranks.h5",
        **pin(path),
    }
    registry.add("made", content, gone, there)
    found = fetching.fetch("made")
    assert found.path.read_bytes() == data
    assert found.origin == f"hf://datasets/some/ranks@{commit}/made.ranks.h5"
    # A valid file with other content is not returned under the name.
    registry.add("other", "1" * 64, there)
    with pytest.raises(FetchError, match="does not give the ranks other") as caught:
        fetching.fetch("other")
    assert content in (caught.value.got or "")
    later = hub.add("some/ranks", {"made.ranks.h5": data, "SHA256SUMS": sums(data)})
    assert fetching.fetch_revision("made", later).origin.split("@")[1].startswith(later)
    with pytest.raises(UsageError, match="has no revisions"):
        fetching.fetch_revision("spare", later)


def sums(data: bytes) -> bytes:
    return f"{hashlib.sha256(data).hexdigest()}  made.ranks.h5\n".encode()


def test_unknown_names_get_the_nearest_one(registry: Registry) -> None:
    registry.bundled("cifar10-proxy")
    with pytest.raises(UnknownNameError, match="no published ranks called") as caught:
        fetching.fetch("cifar10-prox")
    assert caught.value.hint == "did you mean 'cifar10-proxy'?"


def test_a_changed_bundled_file_is_refused(registry: Registry) -> None:
    data = registry.bundled("made")
    (registry.folder / "made.ranks.h5").write_bytes(data + b"x")
    with pytest.raises(FetchError, match="is not the file that comes with"):
        fetching.fetch("made")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "ftp", "file": "a"}, "of kind 'ftp'"),
        ({"kind": "bundled"}, "has no file"),
        ({"kind": "bundled", "file": "../a"}, "leaves its folder"),
        ({"kind": "bundled", "file": "/a"}, "leaves its folder"),
        ({"kind": "bundled", "file": "a", "sha256": "b"}, "not pinned"),
        ({"kind": "bundled", "file": "a", "size": 0}, "not pinned"),
        ({"kind": "upstream", "url": "file:///etc/passwd"}, "not the address"),
        ({"kind": "hub", "file": "a", "repository": "a/b", "revision": "main"}, "full commit"),
        ({"kind": "bundled", "file": "a", "colour": "red"}, "colour"),
    ],
)
def test_an_invalid_registry_is_refused(
    registry: Registry, source: dict[str, Any], message: str
) -> None:
    registry.add("made", "0" * 64, {"size": 1, "sha256": "0" * 64, **source})
    with pytest.raises(FileError, match=message):
        load()


def test_one_name_never_means_two_files(registry: Registry) -> None:
    a = {"kind": "bundled", "file": "a", "size": 1, "sha256": "0" * 64}
    registry.add("made", "0" * 64, a, {**a, "sha256": "1" * 64})
    with pytest.raises(FileError, match="2 different rank files"):
        load()
    registry.text += "\n[ranks.made]\n"
    registry.write()
    with pytest.raises(FileError, match="cannot be read"):
        load()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command line in an empty directory: exit code, standard output, standard error."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["datacurate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    return call


def test_fetch_without_a_name_lists_the_registry(
    registry: Registry, upstream: Path, run: Run
) -> None:
    registry.bundled("cifar10-proxy", agreement=0.875)
    code, out, _ = run("fetch", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["name"], second["name"]) == ("cifar10", "cifar10-proxy")
    assert second["agreement"] == 0.875
    assert second["sources"][0]["size"] > 1000
    code, out, _ = run("fetch")
    assert code == 0
    for words in ("cifar10-proxy", "0.875", "bundled", "smoke", "kB"):
        assert words in out
    assert run("fetch", "--repo", "a/b")[0] == 2


def test_fetch_copies_and_never_overwrites(registry: Registry, run: Run) -> None:
    data = registry.bundled("made")
    code, out, err = run("fetch", "made", "--out", "a.ranks.h5")
    assert code == 0
    assert out == "a.ranks.h5\n"
    assert "recipe smoke" in err
    assert Path("a.ranks.h5").read_bytes() == data
    Path("b.ranks.h5").write_text("precious")
    code, out, err = run("fetch", "made", "--out", "b.ranks.h5")
    assert (code, out) == (1, "")
    assert Path("b.ranks.h5").read_text() == "precious"
    for bad in ("../made", "a/b", "/etc/passwd"):
        code, out, err = run("fetch", bad)
        assert (code, out) == (2, "")
        assert "Traceback" not in err


def test_prune_fetches_published_ranks_by_name(upstream: Path, server: Server, run: Run) -> None:
    for arguments in (["cifar10"], []):  # the default if there is no file here
        code, _, err = run("prune", *arguments, "--keep", "1000", "--force")
        assert code == 0, err
        assert f"{server.url}/prob_rank.npy" in err
    index = indexfile.read(Path("idx.npy"))
    assert index.kept.tolist() == np.flatnonzero(np.load(upstream) * N < 999.5).tolist()
    assert "cifar10" in index.source["file"]
    # The digits ship with a dependency, so the labels were at hand.
    assert len(index.classes) == 10
    assert run("prune", "--keep", "1000", "--balanced", "--force")[0] == 0


def test_a_file_comes_before_a_name(registry: Registry, upstream: Path, run: Run) -> None:
    rankfile.write(Path("cifar10"), made_rank_file())
    assert run("prune", "cifar10", "--keep", "30")[0] == 0
    assert indexfile.read(Path("idx.npy")).dataset.examples == 60


def test_a_stand_in_is_reported_and_recorded(
    registry: Registry, upstream: Path, server: Server, run: Run
) -> None:
    upstream.unlink()
    code, _, err = run("prune", "--keep", "48")
    assert code == 1
    assert "404" in err
    registry.bundled("cifar10-proxy", stands_in_for="cifar10")
    code, _, err = run("prune", "--keep", "48")
    assert code == 0
    assert "warning: the published ranks cifar10 are not available" in err
    index = indexfile.read(Path("idx.npy"))
    assert "cifar10-proxy stand in" in index.warnings[0]
    assert index.source["file"].startswith("cifar10-proxy (bundled")
    statement = json.loads(Path("idx.npy.json").read_text())
    (said,) = (line for line in statement["warnings"] if "stand in" in line)
    assert said.startswith("the published ranks cifar10 are not available (")
    assert said.endswith("cifar10-proxy stand in for them: the ranks cifar10-proxy")
    assert statement["source"]["content_sha256"] == load()["cifar10-proxy"].content_sha256
    # A fetch by name never returns the stand-in.
    assert run("fetch", "cifar10")[0] == 1


def test_available_ranks_need_no_stand_in(
    registry: Registry,
    upstream: Path,
    server: Server,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.bundled("cifar10-proxy", stands_in_for="cifar10")
    with monkeypatch.context() as told:
        told.setattr(constants, "HF_HUB_OFFLINE", True)
        assert run("prune", "--keep", "48")[0] == 0
        assert indexfile.read(Path("idx.npy")).source["file"].startswith("cifar10-proxy (bundled")
        assert server.requests == []
    # With the network back the authors' are used, and from then on without it too.
    for offline in (False, True):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        code, _, err = run("prune", "--keep", "48", "--force")
        assert code == 0
        assert "stand in" not in err
        index = indexfile.read(Path("idx.npy"))
        assert index.source["content_sha256"] == load()["cifar10"].content_sha256
        assert index.kept.tolist() == np.flatnonzero(np.load(upstream) * N < 47.5).tolist()
        assert not any("stand in" in line for line in index.warnings)
    assert server.requests == ["/prob_rank.npy"]


def test_bundled_ranks_are_listed_and_need_no_network(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, out, _ = run("fetch", "--json")
    assert code == 0
    (digits,) = (entry for entry in json.loads(out) if entry["name"] == "digits")
    assert digits["examples"] == N
    assert digits["agreement"] is None
    assert run("prune", "digits", "--keep", "1000", "--balanced")[0] == 0
    index = indexfile.read(Path("idx.npy"))
    assert [row["after"] for row in index.classes] == [100] * 10
    assert index.source["content_sha256"] == digits["content_sha256"]
