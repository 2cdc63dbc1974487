"""Published ranks arrive unchanged; a refused publication changes nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from datacurate.errors import DatacurateError, FileError, PublishError, UsageError
from datacurate.formats import rankfile
from datacurate.publishing import bundle as bundles
from datacurate.publishing.fetching import fetch_from
from datacurate.publishing.publish import publish
from tests.made_ranks import made_rank_file
from tests.remote.hub_server import EXPIRED_TOKEN, OWNER_TOKEN, READER_TOKEN, Fault, Hub

EVERYTHING = {
    "made.ranks.h5",
    "made.history.jsonl",
    "README.md",
    "croissant.json",
    "SHA256SUMS",
    "pictures/instability.png",
    "pictures/classes.png",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.ranks.h5"
    rankfile.write(path, made_rank_file())
    (tmp_path / "made.history.jsonl").write_text('{"run": 0, "epoch": 0}\n')
    return path


def state(hub: Hub) -> dict[str, Any]:
    return {name: list(held.commits) for name, held in hub.repositories.items()}


def test_published_ranks_can_be_fetched_elsewhere(
    hub: Hub, file: Path, second_cache: Callable[[], None]
) -> None:
    done = publish(file, "me/made")
    oid, files = hub.repositories["me/made"].commits[0]
    assert done.commit == oid
    assert set(files) == EVERYTHING | {".gitattributes"}
    assert len(hub.repositories["me/made"].commits) == 2  # its creation, and one commit
    assert not hub.leaked
    second_cache()
    words = done.fetched_by.split()
    assert words[:3] == ["datacurate", "fetch", "made"]
    found = fetch_from(words[4], words[2], words[6])
    assert found.path.read_bytes() == file.read_bytes()
    assert found.content_sha256 == done.content_sha256
    # Nothing changed, so nothing is committed.
    assert publish(file, "me/made").commit == oid
    assert len(hub.repositories["me/made"].commits) == 2


def test_private_repositories(hub: Hub, file: Path) -> None:
    publish(file, "me/secret", private=True)
    publish(file, "me/open")
    assert hub.repositories["me/secret"].private
    assert not hub.repositories["me/open"].private


def test_other_ranks_of_the_same_name_are_not_replaced(
    hub: Hub, file: Path, second_cache: Callable[[], None]
) -> None:
    first = publish(file, "me/made")
    old = file.read_bytes()
    rankfile.write(file, made_rank_file(number=1), force=True)
    before = state(hub)
    with pytest.raises(PublishError, match="holds other ranks under the name made") as caught:
        publish(file, "me/made")
    assert "--replace" in (caught.value.hint or "")
    assert state(hub) == before
    second = publish(file, "me/made", replace=True)
    second_cache()
    assert fetch_from("me/made", "made", first.commit).path.read_bytes() == old
    assert fetch_from("me/made", "made", second.commit).path.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("method", "fragment", "kind"),
    [
        ("POST", "/repos/create", 503),
        ("POST", "/repos/create", "drop"),
        ("GET", "/api/datasets", 429),
        ("POST", "/validate-yaml", 503),
        ("POST", "/preupload/", 429),
        ("POST", "/batch", 503),
        ("PUT", "/storage/", 500),
        ("PUT", "/storage/", "drop"),
        ("POST", "/verify/", 503),
        ("POST", "/commit/", 429),
        ("POST", "/commit/", 503),
        ("POST", "/commit/", "drop"),
        ("POST", "/commit/", "slow"),
    ],
)
def test_temporary_faults_are_retried(
    hub: Hub, file: Path, method: str, fragment: str, kind: int | str
) -> None:
    hub.faults.append(Fault(method, fragment, kind))
    publish(file, "me/made")
    assert hub.faults[0].times == 0
    assert len(hub.repositories["me/made"].commits) == 2
    assert hub.repositories["me/made"].commits[0][1]["made.ranks.h5"] == file.read_bytes()


@pytest.mark.parametrize(
    ("method", "fragment", "kind"),
    [
        ("PUT", "/storage/", "wrong"),
        ("POST", "/batch", 503),
        ("POST", "/commit/", 429),
        ("POST", "/commit/", 412),
        ("POST", "/preupload/", 403),
    ],
)
def test_permanent_faults_leave_the_repository_unchanged(
    hub: Hub, file: Path, method: str, fragment: str, kind: int | str
) -> None:
    hub.add("me/made", {"notes.txt": b"precious"})
    hub.faults.append(Fault(method, fragment, kind, times=1000))
    before = state(hub)
    with pytest.raises(PublishError, match="me/made") as caught:
        publish(file, "me/made")
    assert caught.value.hint
    assert state(hub) == before


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (READER_TOKEN, "permission denied"),
        (EXPIRED_TOKEN, "does not accept the token"),
        ("", "does not accept the token"),
    ],
)
def test_tokens_without_permission_are_refused(
    hub: Hub,
    file: Path,
    token: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    lines: list[str] = []
    with caplog.at_level(logging.DEBUG), pytest.raises(PublishError, match=message) as caught:
        publish(file, "me/made", tell=lines.append)
    assert not hub.repositories
    said = str(caught.value) + "".join(lines) + caplog.text + "".join(capfd.readouterr())
    assert "hf auth login" in said
    assert not token or token not in said


def test_without_network(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PublishError, match="HF_HUB_OFFLINE is set"):
        publish(file, "me/made")


def renamed(file: Path, name: str) -> Path:
    return file.rename(file.with_name(name))


def damaged(file: Path) -> Path:
    data = file.read_bytes()
    stored = rankfile.read(file).columns["probability"].tobytes()
    assert stored in data
    file.write_bytes(data.replace(stored, stored[:-1] + b"!"))
    return file


def unfounded(file: Path) -> Path:
    """A file with valid hashes in which the rank does not follow from the runs."""
    import dataclasses

    made = made_rank_file()
    other = made_rank_file(seed=3)
    taken = {name: other.columns[name] for name in ("problematic_rank", "position")}
    columns = {**made.columns, **taken}
    rankfile.write(file, dataclasses.replace(made, columns=columns), force=True)
    return file


@pytest.mark.parametrize(
    ("prepare", "repository", "kind"),
    [
        (lambda file: file, "made", UsageError),
        (lambda file: file, "../made", UsageError),
        (lambda file: file, "me/made/more", UsageError),
        (lambda file: renamed(file, "made.h5"), "me/made", UsageError),
        (lambda file: renamed(file, "a name.ranks.h5"), "me/made", UsageError),
        (lambda file: renamed(file, ".ranks.h5"), "me/made", UsageError),
        (lambda file: file.with_name("absent.ranks.h5"), "me/made", FileError),
        (damaged, "me/made", FileError),
        (unfounded, "me/made", FileError),
    ],
)
def test_inconsistent_ranks_are_not_sent(
    hub: Hub,
    file: Path,
    prepare: Callable[[Path], Path],
    repository: str,
    kind: type[DatacurateError],
) -> None:
    with pytest.raises(kind):
        publish(prepare(file), repository)
    assert not hub.requests


@pytest.fixture
def bundle(file: Path, tmp_path: Path) -> Path:
    made = bundles.write_bundle(file, "me/made", tmp_path / "bundle", licence="cc-by-4.0")
    assert set(made.files) == EVERYTHING
    return tmp_path / "bundle"


def test_the_sums_cover_every_file(bundle: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (bundle / "SHA256SUMS").read_text().splitlines())
    there = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert set(sums) == there - {"SHA256SUMS"} == EVERYTHING - {"SHA256SUMS"}
    for path, stated in sums.items():
        assert hashlib.sha256((bundle / path).read_bytes()).hexdigest() == stated
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle)
    assert done.returncode == 0


def test_the_card_parses_and_describes_the_file(bundle: Path) -> None:
    card = huggingface_hub.DatasetCard.load(bundle / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "made.ranks.h5"}]
    ranks = rankfile.read(bundle / "made.ranks.h5")
    for name in rankfile.file_columns(ranks):
        assert f"| `{name}` |" in card.text
    for words in (
        ranks.content_sha256,
        ranks.provenance.recipe_hash,
        "75.00%",
        "Spearman",
        "2102.07437",
        "datacurate fetch made --repo me/made",
        "pictures/classes.png",
    ):
        assert words in card.text


def test_names_from_a_file_stay_within_their_cells(tmp_path: Path) -> None:
    import dataclasses

    made = made_rank_file()
    names = ("a|b", "<script>x</script>", "$\\frac$ {{ x }}")
    identity = dataclasses.replace(made.identity, class_names=names)
    path = tmp_path / "odd.ranks.h5"
    rankfile.write(path, dataclasses.replace(made, identity=identity))
    bundles.write_bundle(path, "me/odd", tmp_path / "odd")
    text = (tmp_path / "odd" / "README.md").read_text()
    assert "a\\|b" in text
    assert "<script" not in text
    assert "{{ x }}" in text


def test_croissant_validates_and_states_the_hashes(bundle: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    data = mlcroissant.Dataset(jsonld=bundle / "croissant.json")
    assert not data.metadata.issues.errors
    assert not data.metadata.issues.warnings
    stated = {file.name: file.sha256 for file in data.metadata.distribution}
    assert set(stated) == EVERYTHING - {"SHA256SUMS", "croissant.json"}
    for name, sha256 in stated.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == sha256


def test_the_bundle_is_a_data_set(bundle: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(bundle), cache_dir=str(tmp_path / "datasets"))["train"]
    ranks = rankfile.read(bundle / "made.ranks.h5")
    assert len(rows) == len(ranks)
    assert rows["problematic_rank"][:] == ranks.columns["problematic_rank"].tolist()


def test_a_bundle_is_the_same_each_time_and_not_overwritten(
    bundle: Path, file: Path, tmp_path: Path
) -> None:
    bundles.write_bundle(file, "me/made", tmp_path / "again", licence="cc-by-4.0")
    assert (tmp_path / "again" / "SHA256SUMS").read_bytes() == (bundle / "SHA256SUMS").read_bytes()
    with pytest.raises(DatacurateError, match="exists already"):
        bundles.write_bundle(file, "me/made", bundle)
    bundles.write_bundle(file, "me/other", bundle, force=True)
    assert "me/other" in (bundle / "README.md").read_text()


def test_the_commands(hub: Hub, file: Path, tmp_path: Path) -> None:
    """As a user runs them: other processes, the client's settings from the environment."""
    command = Path(sys.executable).with_name("datacurate")
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": OWNER_TOKEN,
        "HF_HOME": str(tmp_path / "home"),
        "NO_COLOR": "1",
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**environment, **more},
            timeout=60,
        )

    dry = run("publish", file.name, "--repo", "me/made", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert not hub.requests
    assert {str(Path(line).relative_to("made-bundle")) for line in dry.stdout.split()} == EVERYTHING
    sent = run("publish", file.name, "--repo", "me/made", "--json")
    assert sent.returncode == 0, sent.stderr
    assert OWNER_TOKEN not in sent.stdout + sent.stderr
    line = json.loads(sent.stdout)["fetched_by"].split()
    got = run(*line[1:], "--out", "copy.ranks.h5", HF_HOME=str(tmp_path / "elsewhere"))
    assert got.returncode == 0, got.stderr
    assert (tmp_path / "copy.ranks.h5").read_bytes() == file.read_bytes()
    offline = run(*line[1:], HF_HOME=str(tmp_path / "elsewhere"), HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    none = run(*line[1:], HF_HOME=str(tmp_path / "third"), HF_HUB_OFFLINE="1")
    assert none.returncode == 1
    assert "HF_HUB_OFFLINE is set" in none.stderr
    assert none.stdout == ""
