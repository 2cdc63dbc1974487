"""Where a data set is: the directory given, the environment, the cache, or a download away."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from datacurate.data.canonical import in_official_order
from datacurate.data.digits import digits
from datacurate.data.known import KNOWN, Archive, Known
from datacurate.data.layouts import Layout
from datacurate.data.recognition import recognise
from datacurate.errors import (
    DataError,
    DataNotFoundError,
    FetchError,
    OutputError,
    UnknownNameError,
    UsageError,
)
from datacurate.fingerprints import label_fingerprint, pixel_fingerprint
from datacurate.notices import Notify
from datacurate.remote.download import download
from datacurate.remote.hub import dataset_snapshot

VARIABLE = "DATACURATE_DATA"

_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/([\w./-]+))?/?")

_SUFFIXES = (".npz", ".parquet", ".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Located:
    """A data set found.

    Attributes
    ----------
    name : str
        What it is called from now on: a known name, or that of the user's file or folder.
    known : Known or None
    layout : Layout
    origin : str
        The path or address to record as its source.
    """

    name: str
    known: Known | None
    layout: Layout
    origin: str


def locate(
    name: str, data: Path | None = None, tell: Notify | None = None, *, fetching: bool = True
) -> Located:
    """Find a data set by its name or path; download it if it is known and nowhere else.

    Parameters
    ----------
    name : str
        A known name, a path, or ``hf://datasets/owner/name``.
    data : Path, optional
        A directory or file that holds the known data set.
    tell : callable, optional
        Called with lines for people about downloads.
    fetching : bool
        Whether a known data set is downloaded if it is nowhere else.

    Raises
    ------
    UnknownNameError, UsageError
        If the name is neither known nor a path; if a path comes with a second one.
    DataError
        If what is there is not the data set.
    DataNotFoundError
        If it is nowhere, and may not be downloaded.
    FetchError
        If it is nowhere and cannot be downloaded.
    """
    known = KNOWN.get(name)
    if known is None and data is not None:
        raise (
            UsageError(f"{name} says already where the data is", hint="drop --data")
            if _is_address(name)
            else _unknown(name)
        )
    if known is not None:
        layout, origin = _known(known, data, tell or (lambda _: None), fetching)
        return Located(name, known, layout, origin)
    if name.startswith("hf:"):
        return _on_hub(name)
    path = Path(name).expanduser()
    if not os.path.exists(path):  # Path.exists raises for a name that is too long
        if _is_address(name):
            raise DataNotFoundError(f"there is no {path}", hint="give a data set's name or path")
        raise _unknown(name)
    title = path.resolve().name
    suffix = next((end for end in _SUFFIXES if title.endswith(end)), "")
    return Located(title.removesuffix(suffix), None, recognise(path, None), str(path))


def cache_directory() -> Path:
    """Return the directory that downloaded data sets go into, which need not exist."""
    return Path(platformdirs.user_cache_dir("datacurate")) / "data"


def _is_address(name: str) -> bool:
    """Return whether a name can only be meant as a path or an address."""
    return any(mark in name for mark in (os.sep, "/", "~")) or name.endswith(_SUFFIXES)


def _unknown(name: str) -> UnknownNameError:
    return UnknownNameError(
        "data set", name, KNOWN, hint="for data of your own give its path, such as ./images"
    )


def _on_hub(address: str) -> Located:
    match = _HUB.fullmatch(address)
    if match is None:
        raise UsageError(
            f"{address} is no address of a data set on the Hub",
            expected="hf://datasets/owner/name, with @revision and /folder if need be",
        )
    repository, revision, folder = match.groups()
    place = dataset_snapshot(repository, revision=revision)
    layout = recognise(place / folder if folder else place, None)
    if place.parent.name == "snapshots":  # the Hub's cache names a snapshot by its commit
        address = f"hf://datasets/{repository}@{place.name}" + (f"/{folder}" if folder else "")
    return Located(repository.partition("/")[2], None, layout, address)


def _known(known: Known, data: Path | None, tell: Notify, fetching: bool) -> tuple[Layout, str]:
    if data is not None:
        if not data.exists():
            raise DataNotFoundError(
                f"there is no {data}", hint=f"give the directory that holds {known.title}"
            )
        inside = data / known.name
        layout = recognise(inside if inside.is_dir() else data, known)
        return layout, str(layout.location)
    if known.archive is None:
        layout = digits()
        return layout, str(layout.location)
    looked: list[str] = []
    for place in _environment(known):
        try:
            layout = recognise(place, known)
        except DataError as error:
            # The directory may hold other data sets; this one can still be in the cache.
            looked.append(f"${VARIABLE}: {error.what}")
        else:
            return layout, str(layout.location)
    cached = _cached(known)
    if not cached:
        looked.append(f"it is not in {cache_directory()}")
        if not fetching:
            raise DataNotFoundError(
                f"{known.title} is not on this machine", got="; ".join(looked), hint="--data DIR"
            )
        _fetch(known, known.archive, looked, tell)
        cached = _cached(known)
    layout = recognise(cached[0], known)
    # The address, not the place in somebody's home, is what a published file should name.
    if layout.location.name == known.archive.file_name:
        return layout, known.archive.url
    return layout, f"hf://datasets/{known.mirror}"


def _cached(known: Known) -> list[Path]:
    """Return the archive and the mirror of a data set in the cache, as far as they are there."""
    assert known.archive is not None
    archive = cache_directory() / known.archive.file_name
    mirror = cache_directory() / known.name
    return [place for place in (archive, mirror) if place.exists()]


def _environment(known: Known) -> list[Path]:
    """Return the places that the environment variable names, the data set's own folder first."""
    value = os.environ.get(VARIABLE)
    if not value:
        return []
    directory = Path(value).expanduser()
    if not directory.exists():
        raise DataNotFoundError(
            f"${VARIABLE} names {directory}, which does not exist", hint=f"unset {VARIABLE}"
        )
    inside = directory / known.name
    return [inside, directory] if inside.is_dir() else [directory]


def _fetch(known: Known, archive: Archive, looked: list[str], tell: Notify) -> None:
    """Download a known data set into the cache: the official archive, or else the Hub's mirror."""
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the cache {cache} cannot be made: {error.strerror}",
            hint="set XDG_CACHE_HOME to a directory that can be written",
        ) from error
    try:
        download(archive.url, cache / archive.file_name, f"md5:{archive.md5}", tell=tell)
        return
    except FetchError as error:
        looked.append(error.what)
    tell(f"the official archive of {known.title} cannot be had; trying the Hub's mirror")
    try:
        _fetch_mirror(known, cache)
    except FetchError as error:
        looked.append(error.what)
        raise FetchError(
            f"{known.title} is not on this machine and could not be downloaded",
            expected=f"it in --data DIR, in ${VARIABLE}, in the cache, or on the network",
            got="; ".join(looked),
            hint="give the directory that holds it: --data DIR",
        ) from error


def _fetch_mirror(known: Known, cache: Path) -> None:
    """Download the mirror beside its place, check that it is the data set, and move it there."""
    assert known.mirror is not None
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{known.name}.") as temporary:
        folder = Path(temporary) / known.name
        dataset_snapshot(known.mirror, folder=folder)
        try:
            read = in_official_order(recognise(folder, known).train(), known)
        except DataError as error:
            raise FetchError(
                f"hf://datasets/{known.mirror} does not hold {known.title}: {error.what}"
            ) from error
        published = known.official.get("train")
        if len(read.labels) != known.sizes["train"] or (
            published is not None
            and (label_fingerprint(read.labels), pixel_fingerprint(read.images))
            != (published.labels, published.pixels)
        ):
            raise FetchError(f"hf://datasets/{known.mirror} does not hold {known.title}")
        try:
            folder.rename(cache / known.name)
        except OSError as error:
            if not (cache / known.name).is_dir():  # else another process was first
                raise OutputError(f"{cache} cannot be written: {error.strerror}") from error
