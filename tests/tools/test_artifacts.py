"""Artifacts: made in one step; the check finds every inconsistency."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from datacurate.errors import DatacurateError, FileError, UnknownNameError, UsageError
from datacurate.fingerprints import sha256_file
from datacurate.formats import indexfile, rankfile
from datacurate.formats.rankfile import RankFile
from datacurate.publishing.agreement import PublishedRanks, load_published
from datacurate.publishing.bundle import write_sums
from datacurate.remote.artifacts import artifacts_directory
from datacurate.remote.registry import Entry, load, register
from tests.made_ranks import made_rank_file
from tools.artifacts.assembly import SPECS, ArtifactSpec, make_artifact
from tools.artifacts.checks import check_artifacts

ROOT = Path(__file__).resolve().parents[2]
N = 600
SPEC = ArtifactSpec(
    "made-proxy",
    "made up",
    dataset="made",
    recipe="smoke",
    compared_with="made",
    stands_in_for="made",
    lists=((300, True), (480, False)),
)


def made(seed: int = 0) -> RankFile:
    ranks = made_rank_file(examples=N, seed=seed)
    stated = {"processor": "a processor", "device": "CPU", "torch": "2.0"}
    provenance = dataclasses.replace(ranks.provenance, environment=stated)
    return dataclasses.replace(ranks, provenance=provenance)


@pytest.fixture(scope="module")
def other() -> PublishedRanks:
    return PublishedRanks("made", "https://somewhere/prob_rank.npy", made(seed=5))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "work" / "made.ranks.h5"
    path.parent.mkdir()
    rankfile.write(path, made())
    rankfile.history_path(path).write_text('{"run": 0, "epoch": 0}\n')
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A registry with only the authors' ranks."""
    place = tmp_path / "artifacts"
    place.mkdir()
    text = (ROOT / "artifacts" / "registry.toml").read_text().partition("[ranks.digits]")[0]
    (place / "registry.toml").write_text(text)
    return place


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, other: PublishedRanks) -> Path:
    """A directory with one artifact; its pictures take longest, so it is made once."""
    work, place = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("artifacts")
    (place / "registry.toml").write_text("format = 1\n")
    path = work / "made.ranks.h5"
    rankfile.write(path, made())
    rankfile.history_path(path).write_text('{"run": 0, "epoch": 0}\n')
    make_artifact(path, SPEC, place, published=other)
    return place


@pytest.fixture
def artifact(once: Path, tmp_path: Path) -> Path:
    """A copy of the artifact to damage."""
    shutil.copytree(once, tmp_path / "copy")
    return tmp_path / "copy" / SPEC.name


def wrong(artifact: Path, other: PublishedRanks | None) -> list[str]:
    (checks,) = check_artifacts(artifact.parent, other).values()
    return [each.name for each in checks if not each.ok]


def test_a_new_artifact_passes_all_checks(
    artifact: Path, file: Path, other: PublishedRanks
) -> None:
    assert wrong(artifact, other) == []
    there = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*")}
    assert there - {"pictures"} == {
        "README.md",
        "SHA256SUMS",
        "made-proxy.ranks.h5",
        "made-proxy.history.jsonl",
        "idx-300-balanced.npy",
        "idx-300-balanced.npy.json",
        "idx-480.npy",
        "idx-480.npy.json",
        "pictures/agreement.png",
        "pictures/agreement-by-class.png",
        "pictures/classes.png",
        "pictures/instability.png",
    }
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=artifact)
    assert done.returncode == 0
    # Packing changes no attribute.
    packed = artifact / "made-proxy.ranks.h5"
    with h5py.File(packed) as ours, h5py.File(file) as theirs:
        assert dict(ours.attrs) == dict(theirs.attrs)
        assert set(ours) == set(theirs)
        assert all(np.array_equal(ours[column], theirs[column]) for column in ours)
    # The lists equal a selection computed from the ranks alone.
    ranks = rankfile.read(file)
    order = np.argsort(ranks.columns["position"])
    assert np.load(artifact / "idx-480.npy").tolist() == sorted(order[:480].tolist())
    balanced = np.load(artifact / "idx-300-balanced.npy")
    assert np.bincount(ranks.identity.labels[balanced]).tolist() == [100, 100, 100]
    assert indexfile.read(artifact / "idx-480.npy").source["content_sha256"] == ranks.content_sha256


def test_packed_is_smaller_and_the_same(tmp_path: Path) -> None:
    ranks = made_rank_file(examples=5_000)
    plain = rankfile.write(tmp_path / "plain.ranks.h5", ranks)
    assert rankfile.write(tmp_path / "packed.ranks.h5", ranks, packed=True) == plain
    sizes = [(tmp_path / f"{name}.ranks.h5").stat().st_size for name in ("packed", "plain")]
    assert sizes[0] < 0.9 * sizes[1]
    assert rankfile.read(tmp_path / "packed.ranks.h5").content_sha256 == plain


def test_the_figures_equal_an_independent_computation(
    artifact: Path, other: PublishedRanks
) -> None:
    ours, theirs = made().columns, other.ranks.columns
    rho = stats.spearmanr(ours["problematic_rank"], theirs["problematic_rank"]).statistic
    a, b = (set(np.argsort(each["position"])[-120:].tolist()) for each in (ours, theirs))
    entry = load(artifact.parent)["made-proxy"]
    assert entry.agreement == round(float(rho), 4)
    assert entry.stands_in_for == "made"
    text = (artifact / "README.md").read_text()
    assert f"Spearman {rho:.3f}, intersection over union" in text
    assert f"of the 120 most problematic {len(a & b) / len(a | b):.3f}" in text
    kept = N - len(a | b)
    assert f"of the 480 that each would keep, {kept / 480:.1%} are the same" in text
    labels = made().identity.labels
    each = [
        stats.spearmanr(
            ours["problematic_rank"][labels == label], theirs["problematic_rank"][labels == label]
        ).statistic
        for label in range(3)
    ]
    assert f"ant {each[0]:.3f}, bee {each[1]:.3f}, cat {each[2]:.3f}" in text


def one_byte(artifact: Path) -> None:
    path = artifact / "made-proxy.ranks.h5"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_agreement(artifact: Path) -> None:
    entry = load(artifact.parent)["made-proxy"]
    assert entry.agreement is not None
    register(
        artifact.parent, dataclasses.replace(entry, agreement=round(entry.agreement + 1e-4, 4))
    )


def better_card(artifact: Path) -> None:
    card = artifact / "README.md"
    text = card.read_text()
    start = text.index("Spearman ", text.index("With the published"))
    card.write_text(text[:start] + "Spearman 0.999" + text[start + len("Spearman 0.000") :])
    sums_again(artifact)


def another_k(artifact: Path) -> None:
    for suffix in ("", ".json"):
        shutil.copyfile(
            artifact / f"idx-300-balanced.npy{suffix}", artifact / f"idx-480.npy{suffix}"
        )
    sums_again(artifact)


def another_row(artifact: Path) -> None:
    index = indexfile.read(artifact / "idx-480.npy")
    spare = np.setdiff1d(np.arange(N), index.kept)
    kept = np.sort(np.append(index.kept[1:], spare[0]))
    indexfile.write(artifact / "idx-480.npy", dataclasses.replace(index, kept=kept), force=True)
    sums_again(artifact)


def lone_array(artifact: Path) -> None:
    (artifact / "idx-480.npy.json").unlink()
    sums_again(artifact)


def another_name(artifact: Path) -> None:
    (artifact / "rows.npy").write_bytes((artifact / "idx-480.npy").read_bytes())
    sums_again(artifact)


def other_ranks(artifact: Path) -> None:
    """A valid rank file of other ranks under valid hashes: registry and card are wrong."""
    path = artifact / "made-proxy.ranks.h5"
    rankfile.write(path, made(seed=9), force=True)
    entry = load(artifact.parent)["made-proxy"]
    source = dataclasses.replace(
        entry.sources[0], size=path.stat().st_size, sha256=sha256_file(path)
    )
    register(artifact.parent, dataclasses.replace(entry, sources=(source,)))
    sums_again(artifact)


def no_hardware(artifact: Path) -> None:
    path = artifact / "made-proxy.ranks.h5"
    ranks = made()
    provenance = dataclasses.replace(ranks.provenance, environment={})
    rankfile.write(path, dataclasses.replace(ranks, provenance=provenance), force=True)


def more_runs(artifact: Path) -> None:
    register(artifact.parent, dataclasses.replace(load(artifact.parent)["made-proxy"], runs=3))


def large(artifact: Path) -> None:
    (artifact / "pictures" / "large.png").write_bytes(bytes(3_000_000))
    sums_again(artifact)


def stray(artifact: Path) -> None:
    (artifact / "notes.txt").write_text("mine")


def gone(artifact: Path) -> None:
    (artifact / "pictures" / "classes.png").unlink()


def no_ranks(artifact: Path) -> None:
    (artifact / "made-proxy.ranks.h5").unlink()


def sums_again(artifact: Path) -> None:
    """Write the list of hashes again, so that it does not reveal a change."""
    files = [p.relative_to(artifact).as_posix() for p in artifact.rglob("*") if p.is_file()]
    write_sums(artifact, [name for name in files if name != "SHA256SUMS"])


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (one_byte, {"registry", "SHA256SUMS"}),
        (other_agreement, {"agreement"}),
        (better_card, {"agreement in the card"}),
        (another_k, {"idx-480.npy"}),
        (another_row, {"idx-480.npy"}),
        (lone_array, {"idx-480.npy"}),
        (another_name, {"rows.npy"}),
        (other_ranks, {"entry", "idx-480.npy", "agreement", "agreement in the card"}),
        (no_hardware, {"registry", "SHA256SUMS", "provenance", "entry"}),
        (more_runs, {"entry"}),
        (large, {"size"}),
        (stray, {"SHA256SUMS"}),
        (gone, {"SHA256SUMS"}),
        (no_ranks, {"registry", "SHA256SUMS", "rank file"}),
    ],
)
def test_every_inconsistency_is_found(
    artifact: Path,
    other: PublishedRanks,
    damage: Callable[[Path], None],
    found: set[str],
) -> None:
    damage(artifact)
    got = set(wrong(artifact, other))
    assert found <= got
    if len(found) == 1:
        assert got == found


def test_a_check_without_published_ranks_says_so(artifact: Path) -> None:
    (checks,) = check_artifacts(artifact.parent, None).values()
    assert all(each.ok for each in checks)
    assert any("not recomputed" in each.detail for each in checks)
    # The other checks still run.
    one_byte(artifact)
    assert "registry" in wrong(artifact, None)


def test_left_out_columns_make_the_artifact_smaller(
    file: Path, directory: Path, other: PublishedRanks
) -> None:
    smaller = dataclasses.replace(SPEC, leave_out=("margin", "first_learned"))
    make_artifact(file, smaller, directory, published=other)
    assert wrong(directory / "made-proxy", other) == []
    ranks = rankfile.read(directory / "made-proxy" / "made-proxy.ranks.h5")
    whole = rankfile.read(file)
    assert set(whole.columns) - set(ranks.columns) == {"margin", "first_learned"}
    assert ranks.provenance.parents == ({"name": file.name, "sha256": sha256_file(file)},)
    for name in ("position", "margins"):
        with pytest.raises(UnknownNameError):
            make_artifact(
                file, dataclasses.replace(SPEC, leave_out=(name,)), directory, published=other
            )


def test_ranks_that_differ_from_the_specification_are_refused(
    artifact: Path, file: Path, other: PublishedRanks
) -> None:
    directory = artifact.parent
    before = sha256_file(artifact / "SHA256SUMS"), (directory / "registry.toml").read_text()

    def refused(
        error: type[DatacurateError], match: str, spec: ArtifactSpec = SPEC, **more: object
    ) -> None:
        with pytest.raises(error, match=match):
            make_artifact(file, spec, directory, **{"published": other, **more})  # type: ignore[arg-type]
        after = sha256_file(artifact / "SHA256SUMS"), (directory / "registry.toml").read_text()
        assert after == before

    refused(UsageError, "compared with made", published=None)
    refused(FileError, "is not what", dataclasses.replace(SPEC, recipe="demo"))
    refused(FileError, "is not what", dataclasses.replace(SPEC, dataset="cifar10"))
    refused(FileError, "too large to ship", most_bytes=1000)
    ranks = made()
    only = {k: v[:, :1] if v.ndim > 1 else v for k, v in ranks.columns.items()}
    one_run = dataclasses.replace(ranks.provenance, runs=ranks.provenance.runs[:1])
    from datacurate.ranks import ranking

    score = ranking.aggregate(only["instability"], "mean-rank", one_run.epochs)
    order = ranking.rank(
        score,
        ranks.identity.label_fingerprint,
        probability=ranking.mean_over_runs(only["probability"]),
    )
    only |= {"problematic_rank": score, "position": order.position}
    rankfile.write(file, dataclasses.replace(ranks, columns=only, provenance=one_run), force=True)
    refused(FileError, "is not what made-proxy specifies")


def test_an_entry_replaces_only_its_own_entry(directory: Path) -> None:
    path = directory / "registry.toml"
    before = path.read_text()
    cifar10 = load(directory)["cifar10"]
    for name in ("cifar10-proxy", "a.b", "cifar10-proxy", "a.b"):
        register(directory, dataclasses.replace(cifar10, name=name, summary=f'"{name}" – é'))
    entries = load(directory)
    assert list(entries) == ["cifar10", "cifar10-proxy", "a.b"]
    assert entries["a.b"].summary == '"a.b" – é'
    assert path.read_text().startswith(before.rstrip())
    register(directory, dataclasses.replace(cifar10, licence="none"))
    assert load(directory) == {**entries, "cifar10": dataclasses.replace(cifar10, licence="none")}
    text = path.read_text()
    with pytest.raises(FileError, match="is not valid"):
        register(directory, dataclasses.replace(cifar10, content_sha256="no"))
    assert path.read_text() == text


def shipped() -> list[str]:
    return [
        entry.name
        for entry in load(artifacts_directory()).values()
        if any(source.kind == "bundled" for source in entry.sources)
    ]


def test_bundled_artifacts_pass_all_checks() -> None:
    """As `make check-artifacts` runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.artifacts", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == set(shipped())
    assert "digits" in shipped()


def test_bundled_artifacts_state_the_right_agreement(upstream_npy: Path) -> None:
    for name, checks in check_artifacts(
        artifacts_directory(), load_published("cifar10", upstream_npy)
    ).items():
        assert [each for each in checks if not each.ok] == [], name


def test_a_copy_of_the_published_ranks_is_recognised_by_its_hash(
    upstream_npy: Path, tmp_path: Path
) -> None:
    found = load_published("cifar10", upstream_npy)
    assert np.array_equal(found.ranks.columns["problematic_rank"], np.load(upstream_npy))
    content = rankfile.write(tmp_path / "up.ranks.h5", found.ranks)
    assert content == load()["cifar10"].content_sha256
    data = bytearray(upstream_npy.read_bytes())
    data[-1] ^= 1
    (tmp_path / "prob_rank.npy").write_bytes(data)
    for path in (tmp_path / "prob_rank.npy", tmp_path / "absent.npy"):
        with pytest.raises(FileError, match="is not the file of the published ranks cifar10"):
            load_published("cifar10", path)


def test_every_specification_names_existing_data_and_recipes() -> None:
    from datacurate.data.known import KNOWN
    from datacurate.recipes import PROFILE_RECIPES

    for spec in SPECS.values():
        assert spec.recipe in PROFILE_RECIPES
        assert all(keep < KNOWN[spec.dataset].sizes["train"] for keep, _ in spec.lists)
        assert spec.compared_with in ("", *load())


def test_the_history_belongs_to_the_runs() -> None:
    for name in shipped():
        entry: Entry = load(artifacts_directory())[name]
        path = artifacts_directory() / entry.sources[0].file
        lines = rankfile.history_path(path).read_text().splitlines()
        runs = [json.loads(line)["run"] for line in lines]
        epochs = rankfile.read(path).provenance.epochs
        assert [runs.count(run) for run in range(entry.runs)] == list(epochs)
