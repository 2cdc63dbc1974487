"""Whether the artifacts that ship with the package are what their registry and cards say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datacurate.errors import DatacurateError
from datacurate.fingerprints import sha256_file
from datacurate.formats import indexfile, rankfile
from datacurate.formats.checking import Check
from datacurate.formats.checking import check as check_ranks
from datacurate.formats.digest import as_json
from datacurate.formats.rankfile import RankFile
from datacurate.publishing.agreeing import PublishedRanks, agreement_of
from datacurate.publishing.fetching import SUMS
from datacurate.remote.registry import Entry, load
from tools.artifacts.shipping import (
    AGREEMENT_DIGITS,
    MOST_BYTES,
    list_of,
    selected,
    size_without_lists,
    spearman_with,
)

CARD = "README.md"

_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")
_HARDWARE = ("processor", "device", "torch")


def inspect(directory: Path, published: PublishedRanks | None = None) -> dict[str, list[Check]]:
    """Return what holds and what does not for every rank file that ships, by name.

    Parameters
    ----------
    directory : Path
        That holds ``registry.toml``.
    published : PublishedRanks, optional
        The ranks whose agreement with them the registry states; without them the figures are not
        recomputed, and the checks say so.

    Raises
    ------
    FileError
        If the registry does not hold.
    """
    found = {}
    for entry in load(directory).values():
        files = [source.file for source in entry.sources if source.kind == "bundled"]
        for file in files[:1]:
            found[entry.name] = _inspect(entry, directory / file, published)
    return found


def _inspect(entry: Entry, path: Path, published: PublishedRanks | None) -> list[Check]:
    found = [*_pinned(entry, path), *_sums(path.parent), _small(path.parent)]
    try:
        checks = check_ranks(path)
        ranks = rankfile.read(path)
    except DatacurateError as error:
        return [*found, Check("rank file", False, " ".join(str(error).split()))]
    wrong = [each for each in checks if not each.ok]
    found += wrong or [Check("rank file", True, f"{len(checks)} things recomputed")]
    found += [
        _entry(entry, ranks),
        _provenance(ranks),
        *_lists(path, ranks),
        *_agreement(entry, path, ranks, published),
    ]
    return found


def _pinned(entry: Entry, path: Path) -> Iterator[Check]:
    """The file is the one that the registry pins."""
    source = next(each for each in entry.sources if each.kind == "bundled")
    got = (path.stat().st_size, sha256_file(path)) if path.is_file() else (0, "no such file")
    ok = got == (source.size, source.sha256)
    yield Check("registry", ok, f"{got[0]:,} bytes, sha256 {got[1][:16]}")


def _sums(folder: Path) -> Iterator[Check]:
    """The list of hashes is of exactly the files that are there."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        yield Check(SUMS, False, str(error))
        return
    stated = {match[2]: match[1] for match in map(_SUM.fullmatch, lines) if match}
    there = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS
    }
    differing = sorted(name for name in {*stated, *there} if stated.get(name) != there.get(name))
    yield Check(SUMS, not differing, ", ".join(differing) or f"{len(there)} files")


def _small(folder: Path) -> Check:
    size = size_without_lists(folder)
    return Check("size", size <= MOST_BYTES, f"{size:,} bytes without index lists")


def _entry(entry: Entry, ranks: RankFile) -> Check:
    """The registry's words about the ranks are the rank file's own."""
    recipe = ranks.provenance.recipe or {}
    pairs = {
        "content_sha256": (entry.content_sha256, ranks.content_sha256),
        "dataset": (entry.dataset, ranks.identity.name),
        "split": (entry.split, ranks.identity.split),
        "examples": (entry.examples, len(ranks)),
        "recipe": (entry.recipe, recipe.get("name")),
        "runs": (entry.runs, ranks.runs),
    }
    wrong = [f"{key}: {a} registered, {b} in the file" for key, (a, b) in pairs.items() if a != b]
    return Check("entry", not wrong, "; ".join(wrong) or f"{len(pairs)} values as registered")


def _provenance(ranks: RankFile) -> Check:
    provenance = ranks.provenance
    stated = {"recipe": provenance.recipe_hash, **provenance.environment}
    missing = [key for key in ("recipe", *_HARDWARE) if not stated.get(key)]
    return Check(
        "provenance",
        not missing,
        f"it does not state {', '.join(missing)}"
        if missing
        else ", ".join(f"{key} {stated[key]}" for key in ("recipe", *_HARDWARE)),
    )


def _lists(path: Path, ranks: RankFile) -> Iterator[Check]:
    """Every index list is what pruning these ranks gives now, by the list's name."""
    for file in sorted(path.parent.glob("*.npy")):
        meant = list_of(file.name)
        if meant is None:
            yield Check(file.name, False, "not called idx-K.npy or idx-K-balanced.npy")
            continue
        try:
            index = indexfile.read(file)
            made = selected(ranks, path.name, *meant)
        except DatacurateError as error:
            yield Check(file.name, False, " ".join(str(error).split()))
            continue
        differing = [
            what
            for what, same in {
                "rows": np.array_equal(index.kept, made.kept),
                "data": as_json(index.dataset) == as_json(made.dataset),
                "selection": index.selection == made.selection,
                "source": index.source == made.source,
                "classes": index.classes == made.classes,
            }.items()
            if not same
        ]
        detail = f"other {', '.join(differing)}" if differing else f"{len(index.kept):,} rows"
        yield Check(file.name, not differing, detail)


def _agreement(
    entry: Entry, path: Path, ranks: RankFile, published: PublishedRanks | None
) -> Iterator[Check]:
    """The figures of registry and card are those that follow from both rank files now."""
    card = path.parent / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    said = entry.content_sha256 in text
    yield Check("card", said, "of these ranks" if said else "it does not state their hash")
    if entry.agreement is None:
        missing = [line for line in agreement_of(ranks, None) if line not in text]
        yield Check("agreement", not missing, missing[0] if missing else "of the runs, as computed")
        return
    if published is None:
        yield Check("agreement", True, "not recomputed: the published ranks were not given")
        return
    computed = spearman_with(ranks, published)
    ok = abs(computed - entry.agreement) < 10**-AGREEMENT_DIGITS / 2
    yield Check("agreement", ok, f"{entry.agreement} registered, {computed} computed")
    missing = [line for line in agreement_of(ranks, published) if line not in text]
    yield Check("agreement in the card", not missing, missing[0] if missing else "as computed")
