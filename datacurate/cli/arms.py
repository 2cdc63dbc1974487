"""Which arms `verify` means, in which recipe, from what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datacurate.cli import console

if TYPE_CHECKING:
    from datacurate.data import DataSet
    from datacurate.formats.indexfile import IndexFile
    from datacurate.recipes import VerifyRecipe
    from datacurate.verification import GivenRows


@dataclass(frozen=True)
class Named:
    """An index, and where it comes from.

    Attributes
    ----------
    file : str
        That it was read from, or the ranks it was pruned by.
    index : IndexFile
    """

    file: str
    index: IndexFile


def swept(sweep: str | None) -> tuple[str | None, list[str]]:
    """Return what varies and its values; without a sweep nothing does, once."""
    from datacurate.errors import UsageError

    if sweep is None:
        return None, [""]
    key, separator, values = sweep.partition("=")
    if not key or not separator:
        raise UsageError(f"--sweep {sweep} has no values", expected="KEY=A,B,...")
    return key.strip(), [value.strip() for value in values.split(",") if value.strip()]


def indexes(
    indices: Path | None, arms: list[str], amounts: Sequence[str | None], data: Path | None
) -> tuple[list[Named], dict[str, Named]]:
    """Return what is kept, for each amount, and the user's own arms by name.

    Without an amount an index file says what is kept; where own arms are given it may be missing.
    """
    from datacurate.cli.sources import pruned, ranks_source
    from datacurate.errors import UsageError
    from datacurate.verification import KEPT_ARM

    own: dict[str, Named] = {}
    for text in arms:
        name, separator, path = text.partition("=")
        if not name or not separator or not path:
            raise UsageError(
                f"--arm {text} does not say which arm is in which file", expected="NAME=FILE.npy"
            )
        if name == KEPT_ARM:
            raise UsageError(
                "the arm 'kept' is that of the index file given first",
                hint=f"datacurate verify {path}",
            )
        if name in own:
            raise UsageError(f"the arm {name!r} is given twice", hint="give each its own name")
        own[name] = _index(Path(path))
    if any(amount is not None for amount in amounts):
        meant = ranks_source(indices)
        return [
            Named(f"{meant.name}, keep {amount}", pruned(meant, amount, data))
            for amount in amounts
            if amount is not None
        ], own
    if indices is None and own:
        return [], own
    return [_index(indices or Path("idx.npy"))] * len(amounts), own


def _index(path: Path) -> Named:
    from datacurate.errors import UsageError
    from datacurate.formats import indexfile
    from datacurate.publishing.fetching import listed

    if path.exists():
        return Named(path.name, indexfile.read(path))
    if str(path) in listed():
        raise UsageError(
            f"{path} are ranks, which do not say how many examples are kept",
            hint=f"datacurate verify {path} --keep 80%",
        )
    raise UsageError(
        f"there is no index file {path}",
        hint="datacurate prune NAME.ranks.h5 --keep 80% --out idx.npy",
    )


def given_rows(arm: str, named: Named, images: DataSet) -> GivenRows:
    """Return the rows of an index, checked against the data, with what is recorded of it."""
    from datacurate.formats import indexfile
    from datacurate.verification import GivenRows

    index = named.index
    what = f"the rows of the arm {arm!r}, of {named.file},"
    match = indexfile.require_match(index, images.train.identity, what)
    if match.warning is not None:
        console.warn(match.warning)
    about = {
        "file": named.file,
        "selection": dict(index.selection),
        "source": dict(index.source),
        "match": match.relation.value,
        "warnings": list(index.warnings),
    }
    return GivenRows(index.kept, about)


def recipe_for(name: str, settings: list[str], given: Mapping[str, GivenRows]) -> VerifyRecipe:
    """Return a named recipe with settings changed and with the arms that are given."""
    from datacurate.recipes import VERIFY_RECIPES, with_settings
    from datacurate.recipes.settings import load
    from datacurate.verification import with_own_arms

    return with_own_arms(with_settings(load(VERIFY_RECIPES, name), settings), given)
