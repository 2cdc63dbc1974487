"""Make artifacts: the ranks that come with the package, each in a folder with its documents."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from datacurate import pruning
from datacurate.errors import FileError, UnknownNameError, UsageError
from datacurate.fingerprints import sha256_file
from datacurate.formats import indexfile, rankfile
from datacurate.formats.columns import KNOWN_COLUMNS
from datacurate.formats.indexfile import IndexFile
from datacurate.formats.rankfile import RankFile
from datacurate.outputs import atomic_directory, write_text
from datacurate.publishing.agreement import (
    PublishedRanks,
    compare_with_published,
    describe_agreement,
)
from datacurate.publishing.bundle import draw_pictures, read_checked, write_sums
from datacurate.publishing.card import card
from datacurate.publishing.fetching import SUMS
from datacurate.remote.registry import Entry, Source, register

MOST_BYTES = 3_000_000
"""Largest size of an artifact's folder without its index lists (8 bytes per index)."""
AGREEMENT_DIGITS = 4
"""Decimals of the agreement in the registry."""

_LIST = re.compile(r"idx-([1-9]\d*)(-balanced)?\.npy")


@dataclass(frozen=True)
class ArtifactSpec:
    """The specification of an artifact.

    Attributes
    ----------
    name : str
        Name of its folder, its rank file and its entry in the registry.
    summary : str
        What the ranks are, in a few words.
    dataset, recipe : str
        Arguments of `datacurate profile` for the rank file.
    licence : str
    compared_with, stands_in_for : str
        Names of published ranks, or empty.
    lists : tuple of (int, bool)
        For each index list: the number of examples it keeps, and whether the classes are balanced.
    leave_out : tuple of str
        Columns to leave out, to save space.
    """

    name: str
    summary: str
    dataset: str
    recipe: str
    licence: str = "MIT"
    compared_with: str = ""
    stands_in_for: str = ""
    lists: tuple[tuple[int, bool], ...] = ()
    leave_out: tuple[str, ...] = ()


SPECS: Mapping[str, ArtifactSpec] = {
    spec.name: spec
    for spec in (
        ArtifactSpec(
            "digits",
            "scikit-learn's digits by the demo's recipe: small, for trying things out",
            dataset="digits",
            recipe="demo",
        ),
        ArtifactSpec(
            "cifar10-proxy",
            "CIFAR-10 by the recipe proxy: two trainings of a small net on two CPU cores, one hour",
            dataset="cifar10",
            recipe="proxy",
            compared_with="cifar10",
            stands_in_for="cifar10",
            lists=((25_000, True), (40_000, False), (45_000, False)),
            leave_out=("margin",),
        ),
    )
}


def make_artifact(
    path: Path,
    spec: ArtifactSpec,
    directory: Path,
    *,
    published: PublishedRanks | None = None,
    most_bytes: int = MOST_BYTES,
) -> Entry:
    """Write the folder of an artifact and its entry in the registry; replace earlier ones.

    Parameters
    ----------
    path : Path
        The finished rank file. The history beside it is copied too. The artifact's rank file is
        packed, which changes no value, attribute or hash.
    spec : ArtifactSpec
    directory : Path
        The folder of ``registry.toml``.
    published : PublishedRanks, optional
        The ranks named by ``spec.compared_with``.
    most_bytes : int
        Largest size of the folder without its index lists.

    Returns
    -------
    Entry

    Raises
    ------
    FileError
        If a check of the rank file fails, its data or recipe differ from the specification, or
        the folder would be too large.
    UsageError
        If `published` is given but the specification compares with nothing, or the reverse.
    UnknownNameError
        If there is no such column to leave out.
    OutputError
        If the folder or the registry cannot be written.
    """
    if bool(spec.compared_with) != (published is not None):
        raise UsageError(f"{spec.name} is compared with {spec.compared_with or 'nothing'}")
    _, ranks = read_checked(path)
    _require_spec(path, spec, ranks)
    if spec.leave_out:
        ranks = _without(path, ranks, spec.leave_out)
    file = spec.name + rankfile.SUFFIX
    with atomic_directory(directory / spec.name, SUMS, force=True) as folder:
        content = rankfile.write(folder / file, ranks, packed=True)
        ranks = dataclasses.replace(ranks, content_sha256=content)
        files = [file]
        history = rankfile.history_path(path)
        if history.is_file():
            files.append(rankfile.history_path(folder / file).name)
            shutil.copyfile(history, folder / files[-1])
        files += _write_documents(folder, spec, ranks, published)
        write_sums(folder, files)
        _require_small(folder, spec, most_bytes)
    entry = _registry_entry(directory / spec.name / file, spec, ranks, published)
    register(directory, entry)
    return entry


def _write_documents(
    folder: Path, spec: ArtifactSpec, ranks: RankFile, published: PublishedRanks | None
) -> list[str]:
    """Write pictures, index lists and the card; return their paths in the folder."""
    pictures = draw_pictures(ranks, published, folder)
    lists: dict[str, str] = {}
    sidecars = []
    for keep, balanced in spec.lists:
        index = select_for_list(ranks, spec.name + rankfile.SUFFIX, keep, balanced)
        name = f"idx-{keep}{'-balanced' * balanced}.npy"
        indexfile.write(folder / name, index)
        sidecars.append(indexfile.sidecar_path(folder / name).name)
        lists[name] = describe_list(index)
    text = card(
        ranks,
        None,
        spec.name,
        pictures=pictures,
        agreement=describe_agreement(ranks, published),
        lists=lists,
        licence=spec.licence.lower(),
    )
    write_text(folder / "README.md", text)
    return [*pictures, *lists, *sidecars, "README.md"]


def _registry_entry(
    path: Path, spec: ArtifactSpec, ranks: RankFile, published: PublishedRanks | None
) -> Entry:
    """Return the registry entry of an artifact's rank file."""
    recipe = ranks.provenance.recipe or {}
    return Entry(
        name=spec.name,
        summary=spec.summary,
        dataset=ranks.identity.name,
        split=ranks.identity.split,
        examples=len(ranks),
        recipe=str(recipe["name"]),
        runs=ranks.runs,
        content_sha256=ranks.content_sha256,
        agreement=None if published is None else published_spearman(ranks, published),
        licence=spec.licence,
        stands_in_for=spec.stands_in_for,
        sources=(
            Source(
                kind="bundled",
                file=f"{spec.name}/{path.name}",
                size=path.stat().st_size,
                sha256=sha256_file(path),
            ),
        ),
    )


def published_spearman(ranks: RankFile, published: PublishedRanks) -> float:
    """Return Spearman's correlation with published ranks, rounded as in the registry."""
    return round(compare_with_published(ranks, published).overall.spearman, AGREEMENT_DIGITS)


def select_for_list(ranks: RankFile, file: str, keep: int, balanced: bool) -> IndexFile:
    """Return the content of an index list of an artifact."""
    return pruning.prune(ranks, keep, balanced=balanced, name=file)


def parse_list_name(name: str) -> tuple[int, bool] | None:
    """Return how many examples an index list keeps and whether it is balanced, by its name.

    Return None for other names.
    """
    match = _LIST.fullmatch(name)
    return None if match is None else (int(match[1]), match[2] is not None)


def describe_list(index: IndexFile) -> str:
    """Describe the content of an index list in words."""
    total = sum(row["before"] for row in index.classes)
    how = ", equally many of each class" if index.selection["balanced"] else ""
    return f"the {len(index.kept):,} most friendly of {total:,}{how}"


def size_without_lists(folder: Path) -> int:
    """Return the size of an artifact's folder in bytes, without index lists and their sidecars."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and parse_list_name(path.name.removesuffix(".json")) is None
    )


def _require_spec(path: Path, spec: ArtifactSpec, ranks: RankFile) -> None:
    recipe = ranks.provenance.recipe or {}
    expected = f"{spec.dataset}, recipe {spec.recipe}, {recipe.get('runs', 'all')} runs"
    got = f"{ranks.identity.name}, recipe {recipe.get('name')}, {ranks.runs} runs"
    if expected != got:
        raise FileError(
            f"{path} is not what {spec.name} specifies",
            expected=expected,
            got=got,
            hint=f"datacurate profile {spec.dataset} --recipe {spec.recipe} --out {path}",
        )


def _without(path: Path, ranks: RankFile, names: Collection[str]) -> RankFile:
    """Return ranks without some columns; record the complete file as their parent."""
    for name in names:
        known = KNOWN_COLUMNS.get(name)
        if name not in ranks.columns or (known is not None and known.required):
            optional = [each for each in ranks.columns if not KNOWN_COLUMNS[each].required]
            raise UnknownNameError("column to leave out", name, optional)
    columns = {name: values for name, values in ranks.columns.items() if name not in names}
    parent = {"name": path.name, "sha256": sha256_file(path)}
    provenance = dataclasses.replace(ranks.provenance, parents=(*ranks.provenance.parents, parent))
    return dataclasses.replace(ranks, columns=columns, provenance=provenance)


def _require_small(folder: Path, spec: ArtifactSpec, most_bytes: int) -> None:
    size = size_without_lists(folder)
    if size > most_bytes:
        raise FileError(
            f"the artifact {spec.name} is too large to ship",
            expected=f"at most {most_bytes:,} bytes without its index lists",
            got=f"{size:,}",
            hint="add columns to leave_out in its specification, such as margin",
        )
