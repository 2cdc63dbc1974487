"""The table of importers: each reads the ranks or scores of other software.

A new format is one file and one row here. The table loads no numpy, so that the command line can
name the formats in its help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datacurate.errors import UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    from datacurate.formats.rankfile import RankFile
    from datacurate.identity import Identity
    from datacurate.importers.options import ImportOptions

    Reader = Callable[[Path, Identity, Mapping[str, Any], ImportOptions], RankFile]


@dataclass(frozen=True)
class Importer:
    """A row of the table.

    Attributes
    ----------
    name : str
    reads : str
        Which file it reads, in a few words.
    load : callable
        Imports and returns the reader.
    direction_known : bool
        Whether the format states which end is problematic. If not, the user must.
    takes_never : bool
        Whether the user may state which count means "never learned".
    """

    name: str
    reads: str
    load: Callable[[], Reader]
    direction_known: bool = True
    takes_never: bool = False


def _upstream() -> Reader:
    from datacurate.importers.upstream import read_upstream

    return read_upstream


def _forgetting() -> Reader:
    from datacurate.importers.forgetting import read_forgetting

    return read_forgetting


def _el2n() -> Reader:
    from datacurate.importers.el2n import read_el2n

    return read_el2n


def _aum() -> Reader:
    from datacurate.importers.aum import read_aum

    return read_aum


def _cartography() -> Reader:
    from datacurate.importers.cartography import read_cartography

    return read_cartography


def _scores() -> Reader:
    from datacurate.importers.scores import read_scores

    return read_scores


IMPORTERS: Mapping[str, Importer] = {
    importer.name: importer
    for importer in (
        Importer("upstream", "the authors' .npy", _upstream),
        Importer("forgetting", "a forgetting .pkl or .npy", _forgetting, takes_never=True),
        Importer("el2n", "an EL2N .npy", _el2n),
        Importer("aum", "aum_values.csv", _aum),
        Importer("cartography", "cartography .jsonl", _cartography),
        Importer("scores", "scores as .npy or .csv", _scores, direction_known=False),
    )
}


def importer_named(name: str) -> Importer:
    """Return the importer of a name.

    Raises
    ------
    UnknownNameError
        With the nearest name.
    """
    if name not in IMPORTERS:
        raise UnknownNameError("kind of file", name, IMPORTERS)
    return IMPORTERS[name]


def describe_importers() -> str:
    """Return one sentence that lists all formats, for help texts."""
    return "; ".join(f"{row.name}: {row.reads}" for row in IMPORTERS.values()) + "."
