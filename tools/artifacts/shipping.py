"""Artifacts: ranks that ship with the package, with all that lies beside them in their folder."""

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
from datacurate.publishing.agreeing import PublishedRanks, agreed, agreement_of
from datacurate.publishing.bundle import checked, pictures_of, write_sums
from datacurate.publishing.card import card
from datacurate.publishing.fetching import SUMS
from datacurate.remote.registry import Entry, Source, register

MOST_BYTES = 3_000_000
"""Of an artifact's folder without its index lists, which take 8 bytes an index."""
AGREEMENT_DIGITS = 4
"""Decimals of the registry's agreement."""

_LIST = re.compile(r"idx-([1-9]\d*)(-balanced)?\.npy")


@dataclass(frozen=True)
class ArtifactSpec:
    """What an artifact is to be.

    Attributes
    ----------
    name : str
        Of its folder, its rank file and its entry in the registry.
    summary : str
        What the ranks are, in a few words.
    dataset, recipe : str
        What `datacurate profile` makes the rank file of.
    licence : str
    compared_with, stands_in_for : str
        Names of published ranks, or empty.
    lists : tuple of (int, bool)
        For each index list how many examples it keeps, and whether equally many of each class.
    leave_out : tuple of str
        Columns that it does without, to be smaller.
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
    plan.name: plan
    for plan in (
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


def make(
    path: Path,
    plan: ArtifactSpec,
    directory: Path,
    *,
    published: PublishedRanks | None = None,
) -> Entry:
    """Write an artifact's folder and its entry in the registry, in the place of earlier ones.

    Parameters
    ----------
    path : Path
        The finished rank file; its history beside it is taken along. The artifact's is packed,
        which changes no value, attribute or hash.
    plan : ArtifactSpec
    directory : Path
        That holds ``registry.toml``.
    published : PublishedRanks, optional
        The ranks that the plan compares with.

    Returns
    -------
    Entry

    Raises
    ------
    FileError
        If something in the rank file does not hold, it is of other data or another recipe than
        planned, or the folder would be too large.
    UsageError
        If the plan compares with published ranks and none are given, or the other way round.
    UnknownNameError
        If there is no such column to leave out.
    OutputError
        If the folder or the registry cannot be written.
    """
    if bool(plan.compared_with) != (published is not None):
        raise UsageError(f"{plan.name} is compared with {plan.compared_with or 'nothing'}")
    _, ranks = checked(path)
    _require_planned(path, plan, ranks)
    if plan.leave_out:
        ranks = _without(path, ranks, plan.leave_out)
    file = plan.name + rankfile.SUFFIX
    with atomic_directory(directory / plan.name, SUMS, force=True) as folder:
        content = rankfile.write(folder / file, ranks, packed=True)
        files = [file]
        history = rankfile.history_path(path)
        if history.is_file():
            files.append(rankfile.history_path(folder / file).name)
            shutil.copyfile(history, folder / files[-1])
        pictures = pictures_of(ranks, published, folder)
        files += pictures
        ranks = dataclasses.replace(ranks, content_sha256=content)
        lists = {}
        for keep, balanced in plan.lists:
            index = selected(ranks, file, keep, balanced)
            name = f"idx-{keep}{'-balanced' * balanced}.npy"
            indexfile.write(folder / name, index)
            files += [name, indexfile.sidecar_path(folder / name).name]
            lists[name] = meaning(index)
        text = card(
            ranks,
            None,
            plan.name,
            pictures=pictures,
            agreement=agreement_of(ranks, published),
            lists=lists,
            licence=plan.licence.lower(),
        )
        write_text(folder / "README.md", text)
        files.append("README.md")
        write_sums(folder, files)
        _require_small(folder, plan)
    target = directory / plan.name / file
    recipe = ranks.provenance.recipe or {}
    entry = Entry(
        name=plan.name,
        summary=plan.summary,
        dataset=ranks.identity.name,
        split=ranks.identity.split,
        examples=len(ranks),
        recipe=str(recipe["name"]),
        runs=ranks.runs,
        content_sha256=content,
        agreement=None if published is None else spearman_with(ranks, published),
        licence=plan.licence,
        stands_in_for=plan.stands_in_for,
        sources=(
            Source(
                kind="bundled",
                file=f"{plan.name}/{file}",
                size=target.stat().st_size,
                sha256=sha256_file(target),
            ),
        ),
    )
    register(directory, entry)
    return entry


def spearman_with(ranks: RankFile, published: PublishedRanks) -> float:
    """Return the agreement with published ranks, rounded as the registry states it."""
    return round(agreed(ranks, published).overall.spearman, AGREEMENT_DIGITS)


def selected(ranks: RankFile, file: str, keep: int, balanced: bool) -> IndexFile:
    """Return what an artifact's index list must be."""
    return pruning.prune(ranks, keep, balanced=balanced, name=file)


def list_of(name: str) -> tuple[int, bool] | None:
    """Return how many an index list keeps by its name, and whether balanced; None for others."""
    match = _LIST.fullmatch(name)
    return None if match is None else (int(match[1]), match[2] is not None)


def meaning(index: IndexFile) -> str:
    """Return what an index list keeps, in words."""
    of = sum(row["before"] for row in index.classes)
    how = ", equally many of each class" if index.selection["balanced"] else ""
    return f"the {len(index.kept):,} most friendly of {of:,}{how}"


def size_without_lists(folder: Path) -> int:
    """Return the bytes of an artifact's folder, without its index lists and their sidecars."""
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and list_of(path.name.removesuffix(".json")) is None
    )


def _require_planned(path: Path, plan: ArtifactSpec, ranks: RankFile) -> None:
    recipe = ranks.provenance.recipe or {}
    expected = f"{plan.dataset}, recipe {plan.recipe}, {recipe.get('runs', 'all')} runs"
    got = f"{ranks.identity.name}, recipe {recipe.get('name')}, {ranks.runs} runs"
    if expected != got:
        raise FileError(
            f"{path} is not what {plan.name} is made of",
            expected=expected,
            got=got,
            hint=f"datacurate profile {plan.dataset} --recipe {plan.recipe} --out {path}",
        )


def _without(path: Path, ranks: RankFile, names: Collection[str]) -> RankFile:
    """Return ranks without some columns, and with the whole file as their parent."""
    for name in names:
        known = KNOWN_COLUMNS.get(name)
        if name not in ranks.columns or (known is not None and known.required):
            spare = [each for each in ranks.columns if not KNOWN_COLUMNS[each].required]
            raise UnknownNameError("column to leave out", name, spare)
    columns = {name: values for name, values in ranks.columns.items() if name not in names}
    parent = {"name": path.name, "sha256": sha256_file(path)}
    provenance = dataclasses.replace(ranks.provenance, parents=(*ranks.provenance.parents, parent))
    return dataclasses.replace(ranks, columns=columns, provenance=provenance)


def _require_small(folder: Path, plan: ArtifactSpec) -> None:
    size = size_without_lists(folder)
    if size > MOST_BYTES:
        raise FileError(
            f"the artifact {plan.name} is too large to ship",
            expected=f"at most {MOST_BYTES:,} bytes without its index lists",
            got=f"{size:,}",
            hint="let its plan leave out some columns, such as margin",
        )
