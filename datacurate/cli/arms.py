"""Which arms `verify` compares, and in which recipe, from its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datacurate.cli import console

if TYPE_CHECKING:
    from datacurate.data import DataSet
    from datacurate.formats.indexfile import IndexFile
    from datacurate.verification import GivenRows, Point


@dataclass(frozen=True)
class ArmOptions:
    """The options that say which examples each arm has.

    Attributes
    ----------
    indices : Path or None
        An index file, or ranks where amounts are given.
    arms : list of str
        ``NAME=FILE.npy``.
    amounts : sequence of str or None
        How many examples to keep, one for each value of a sweep.
    data : Path or None
        Where the data set lies.
    """

    indices: Path | None
    arms: list[str]
    amounts: Sequence[str | None]
    data: Path | None


@dataclass(frozen=True)
class NamedIndex:
    """An index and its origin.

    Attributes
    ----------
    file : str
        The file that it was read from, or the ranks that it was pruned by.
    index : IndexFile
    """

    file: str
    index: IndexFile


@dataclass(frozen=True)
class ArmIndices:
    """The indices of all arms.

    Attributes
    ----------
    kept : list of NamedIndex
        The kept examples, one for each value of a sweep; empty if there are only own arms.
    own : mapping of str to NamedIndex
        The user's own arms by name.
    """

    kept: list[NamedIndex]
    own: Mapping[str, NamedIndex]

    @property
    def dataset(self) -> str:
        """Name of the data set that they belong to."""
        return (*self.kept, *self.own.values())[0].index.dataset.name


def read_sweep(sweep: str | None) -> tuple[str | None, list[str]]:
    """Return the field that varies and its values; None and one empty value without a sweep."""
    from datacurate.errors import UsageError

    if sweep is None:
        return None, [""]
    key, separator, values = sweep.partition("=")
    if not key or not separator:
        raise UsageError(f"--sweep {sweep} has no values", expected="KEY=A,B,...")
    return key.strip(), [value.strip() for value in values.split(",") if value.strip()]


def read_arms(options: ArmOptions) -> ArmIndices:
    """Return the kept examples and the user's own arms.

    Without an amount, an index file says what is kept. With own arms it may be missing.
    """
    from datacurate.cli.sources import find_ranks, prune_source

    own = _read_own_arms(options.arms)
    if any(amount is not None for amount in options.amounts):
        source = find_ranks(options.indices)
        kept = [
            NamedIndex(f"{source.name}, keep {amount}", prune_source(source, amount, options.data))
            for amount in options.amounts
            if amount is not None
        ]
        return ArmIndices(kept, own)
    if options.indices is None and own:
        return ArmIndices([], own)
    index = _read_index(options.indices or Path("idx.npy"))
    return ArmIndices([index] * len(options.amounts), own)


def make_points(
    key: str | None,
    values: Sequence[str],
    arms: ArmIndices,
    images: DataSet,
    recipe: str,
    changes: Sequence[str],
) -> list[Point]:
    """Return the recipe and the rows of each value of a sweep; of one value without a sweep.

    Parameters
    ----------
    key : str or None
        The field that varies.
    values : sequence of str
    arms : ArmIndices
    images : DataSet
    recipe : str
        Name of a recipe, or a TOML file.
    changes : sequence of str
        Changed fields of the recipe, each ``key=value``.
    """
    from datacurate.recipes import VERIFY_RECIPES, with_settings
    from datacurate.recipes.settings import load
    from datacurate.verification import KEPT_ARM, Point, with_own_arms

    points = []
    for number, value in enumerate(values):
        named = {**({KEPT_ARM: arms.kept[number]} if arms.kept else {}), **arms.own}
        given = {name: _match_rows(name, index, images) for name, index in named.items()}
        varied = [*changes, f"{key}={value}"] if key not in (None, "keep") else list(changes)
        chosen = with_settings(load(VERIFY_RECIPES, recipe), varied)
        points.append(Point(value, with_own_arms(chosen, given), given))
    return points


def _read_own_arms(options: Sequence[str]) -> dict[str, NamedIndex]:
    from datacurate.errors import UsageError
    from datacurate.verification import KEPT_ARM

    own: dict[str, NamedIndex] = {}
    for text in options:
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
        own[name] = _read_index(Path(path))
    return own


def _read_index(path: Path) -> NamedIndex:
    from datacurate.errors import UsageError
    from datacurate.formats import indexfile
    from datacurate.publishing.fetching import published_entries

    if path.exists():
        return NamedIndex(path.name, indexfile.read(path))
    if str(path) in published_entries():
        raise UsageError(
            f"{path} are ranks, which do not say how many examples are kept",
            hint=f"datacurate verify {path} --keep 80%",
        )
    raise UsageError(
        f"there is no index file {path}",
        hint="datacurate prune NAME.ranks.h5 --keep 80% --out idx.npy",
    )


def _match_rows(arm: str, named: NamedIndex, images: DataSet) -> GivenRows:
    """Return the rows of an index, checked against the data, with their origin for the record."""
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
