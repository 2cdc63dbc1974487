"""Check that the artifacts of the package agree with their registry and cards."""

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
from datacurate.publishing.agreement import PublishedRanks, describe_agreement
from datacurate.publishing.fetching import SUMS
from datacurate.remote.registry import Entry, load
from tools.artifacts.assembly import (
    AGREEMENT_DIGITS,
    MOST_BYTES,
    parse_list_name,
    published_spearman,
    select_for_list,
    size_without_lists,
)

CARD = "README.md"

_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")
_HARDWARE = ("processor", "device", "torch")


def check_artifacts(
    directory: Path, published: PublishedRanks | None = None
) -> dict[str, list[Check]]:
    """Check every artifact of a registry.

    Parameters
    ----------
    directory : Path
        The folder of ``registry.toml``.
    published : PublishedRanks, optional
        The ranks that the registry compares with. Without them the agreement is not recomputed,
        and the check says so.

    Returns
    -------
    dict of str to list of Check
        The checks by the name of the artifact.

    Raises
    ------
    FileError
        If the registry is not valid.
    """
    checks = {}
    for entry in load(directory).values():
        files = [source.file for source in entry.sources if source.kind == "bundled"]
        for file in files[:1]:
            checks[entry.name] = _check_artifact(entry, directory / file, published)
    return checks


def _check_artifact(entry: Entry, path: Path, published: PublishedRanks | None) -> list[Check]:
    checks = [*_check_pin(entry, path), *_check_sums(path.parent), _check_size(path.parent)]
    try:
        recomputed = check_ranks(path)
        ranks = rankfile.read(path)
    except DatacurateError as error:
        return [*checks, Check("rank file", False, " ".join(str(error).split()))]
    failures = [each for each in recomputed if not each.ok]
    checks += failures or [Check("rank file", True, f"{len(recomputed)} values recomputed")]
    checks += [
        _check_entry(entry, ranks),
        _check_provenance(ranks),
        *_check_lists(path, ranks),
        *_check_agreement(entry, path, ranks, published),
    ]
    return checks


def _check_pin(entry: Entry, path: Path) -> Iterator[Check]:
    """Check that the file has the size and hash in the registry."""
    source = next(each for each in entry.sources if each.kind == "bundled")
    got = (path.stat().st_size, sha256_file(path)) if path.is_file() else (0, "no such file")
    ok = got == (source.size, source.sha256)
    yield Check("registry", ok, f"{got[0]:,} bytes, sha256 {got[1][:16]}")


def _check_sums(folder: Path) -> Iterator[Check]:
    """Check that the list of hashes matches exactly the files in the folder."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        yield Check(SUMS, False, str(error))
        return
    stated = {match[2]: match[1] for match in map(_SUM.fullmatch, lines) if match}
    present = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS
    }
    differing = sorted(
        name for name in {*stated, *present} if stated.get(name) != present.get(name)
    )
    yield Check(SUMS, not differing, ", ".join(differing) or f"{len(present)} files")


def _check_size(folder: Path) -> Check:
    size = size_without_lists(folder)
    return Check("size", size <= MOST_BYTES, f"{size:,} bytes without index lists")


def _check_entry(entry: Entry, ranks: RankFile) -> Check:
    """Check that the registry states the values of the rank file."""
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


def _check_provenance(ranks: RankFile) -> Check:
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


def _check_lists(path: Path, ranks: RankFile) -> Iterator[Check]:
    """Check that every index list equals the result of pruning these ranks now."""
    for file in sorted(path.parent.glob("*.npy")):
        arguments = parse_list_name(file.name)
        if arguments is None:
            yield Check(file.name, False, "not called idx-K.npy or idx-K-balanced.npy")
            continue
        try:
            index = indexfile.read(file)
            expected = select_for_list(ranks, path.name, *arguments)
        except DatacurateError as error:
            yield Check(file.name, False, " ".join(str(error).split()))
            continue
        differing = [
            what
            for what, same in {
                "rows": np.array_equal(index.kept, expected.kept),
                "data": as_json(index.dataset) == as_json(expected.dataset),
                "selection": index.selection == expected.selection,
                "source": index.source == expected.source,
                "classes": index.classes == expected.classes,
            }.items()
            if not same
        ]
        detail = f"other {', '.join(differing)}" if differing else f"{len(index.kept):,} rows"
        yield Check(file.name, not differing, detail)


def _check_agreement(
    entry: Entry, path: Path, ranks: RankFile, published: PublishedRanks | None
) -> Iterator[Check]:
    """Check that the registry and the card state the agreement computed from the rank files."""
    card = path.parent / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    states_hash = entry.content_sha256 in text
    yield Check(
        "card", states_hash, "of these ranks" if states_hash else "it does not state their hash"
    )
    if entry.agreement is None:
        missing = [line for line in describe_agreement(ranks, None) if line not in text]
        yield Check("agreement", not missing, missing[0] if missing else "of the runs, as computed")
        return
    if published is None:
        yield Check("agreement", True, "not recomputed: the published ranks were not given")
        return
    computed = published_spearman(ranks, published)
    ok = abs(computed - entry.agreement) < 10**-AGREEMENT_DIGITS / 2
    yield Check("agreement", ok, f"{entry.agreement} registered, {computed} computed")
    missing = [line for line in describe_agreement(ranks, published) if line not in text]
    yield Check("agreement in the card", not missing, missing[0] if missing else "as computed")
