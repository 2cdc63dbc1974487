"""Find a data set: in a given directory, in ``$DATACURATE_DATA``, in the cache, or by download."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from datacurate.data.canonical import restore_official_order
from datacurate.data.digits import digits
from datacurate.data.known import KNOWN, Archive, KnownDataSet
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
class DataLocation:
    """The place and layout of a data set.

    Attributes
    ----------
    name : str
        A known name, or the name of the user's file or folder.
    known : KnownDataSet or None
    layout : Layout
    origin : str
        The path or address that is recorded as its source.
    """

    name: str
    known: KnownDataSet | None
    layout: Layout
    origin: str


def locate(
    name: str, data: Path | None = None, tell: Notify | None = None, *, allow_download: bool = True
) -> DataLocation:
    """Find a data set by name or path; download a known one that is not on this machine.

    Parameters
    ----------
    name : str
        A known name, a path, or ``hf://datasets/owner/name``.
    data : Path, optional
        The directory or file of a data set with a known name.
    tell : callable, optional
        Called with messages about downloads.
    allow_download : bool
        Whether a known data set may be downloaded.

    Raises
    ------
    UnknownNameError, UsageError
        If the name is neither known nor a path, or if both `name` and `data` are paths.
    DataError
        If the files are not the data set.
    DataNotFoundError
        If it is not on this machine and may not be downloaded.
    FetchError
        If it is not on this machine and cannot be downloaded.
    """
    known = KNOWN.get(name)
    if known is None and data is not None:
        raise (
            UsageError(f"{name} is a path or address already", hint="drop --data")
            if _is_address(name)
            else _unknown_name_error(name)
        )
    if known is not None:
        layout, origin = _locate_known(known, data, tell or (lambda _: None), allow_download)
        return DataLocation(name, known, layout, origin)
    if name.startswith("hf:"):
        return _locate_on_hub(name)
    path = Path(name).expanduser()
    if not os.path.exists(path):  # Path.exists raises for a name that is too long
        if _is_address(name):
            raise DataNotFoundError(f"there is no {path}", hint="give a data set's name or path")
        raise _unknown_name_error(name)
    title = path.resolve().name
    suffix = next((end for end in _SUFFIXES if title.endswith(end)), "")
    return DataLocation(title.removesuffix(suffix), None, recognise(path, None), str(path))


def cache_directory() -> Path:
    """Return the directory for downloaded data sets; it may not exist yet."""
    return Path(platformdirs.user_cache_dir("datacurate")) / "data"


def _is_address(name: str) -> bool:
    """Return whether a name has the form of a path or an address."""
    return any(mark in name for mark in (os.sep, "/", "~")) or name.endswith(_SUFFIXES)


def _unknown_name_error(name: str) -> UnknownNameError:
    return UnknownNameError(
        "data set", name, KNOWN, hint="for data of your own give its path, such as ./images"
    )


def _locate_on_hub(address: str) -> DataLocation:
    match = _HUB.fullmatch(address)
    if match is None:
        raise UsageError(
            f"{address} is not an address of a data set on the Hub",
            expected="hf://datasets/owner/name, optionally with @revision and /folder",
        )
    repository, revision, folder = match.groups()
    place = dataset_snapshot(repository, revision=revision)
    layout = recognise(place / folder if folder else place, None)
    if place.parent.name == "snapshots":  # the Hub's cache names a snapshot by its commit
        address = f"hf://datasets/{repository}@{place.name}" + (f"/{folder}" if folder else "")
    return DataLocation(repository.partition("/")[2], None, layout, address)


def _locate_known(
    known: KnownDataSet, data: Path | None, tell: Notify, allow_download: bool
) -> tuple[Layout, str]:
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
    failures: list[str] = []
    for place in _environment_places(known):
        try:
            layout = recognise(place, known)
        except DataError as error:
            # The directory may hold other data sets; this one may be in the cache.
            failures.append(f"${VARIABLE}: {error.what}")
        else:
            return layout, str(layout.location)
    cached = _cached_places(known)
    if not cached:
        failures.append(f"it is not in {cache_directory()}")
        if not allow_download:
            raise DataNotFoundError(
                f"{known.title} is not on this machine", got="; ".join(failures), hint="--data DIR"
            )
        _download_known(known, known.archive, failures, tell)
        cached = _cached_places(known)
    layout = recognise(cached[0], known)
    # Record the address: published files must not name a path in the user's home.
    if layout.location.name == known.archive.file_name:
        return layout, known.archive.url
    return layout, f"hf://datasets/{known.mirror}"


def _cached_places(known: KnownDataSet) -> list[Path]:
    """Return the paths of the archive and the mirror of a data set that are in the cache."""
    assert known.archive is not None
    archive = cache_directory() / known.archive.file_name
    mirror = cache_directory() / known.name
    return [place for place in (archive, mirror) if place.exists()]


def _environment_places(known: KnownDataSet) -> list[Path]:
    """Return the places that the environment variable names, most specific first."""
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


def _download_known(
    known: KnownDataSet, archive: Archive, failures: list[str], tell: Notify
) -> None:
    """Download a known data set into the cache: the official archive, else its mirror."""
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the cache {cache} cannot be created: {error.strerror}",
            hint="set XDG_CACHE_HOME to a writable directory",
        ) from error
    try:
        download(archive.url, cache / archive.file_name, f"md5:{archive.md5}", tell=tell)
        return
    except FetchError as error:
        failures.append(error.what)
    tell(f"the official archive of {known.title} is not available; trying the mirror on the Hub")
    try:
        _download_mirror(known, cache)
    except FetchError as error:
        failures.append(error.what)
        raise FetchError(
            f"{known.title} is not on this machine and could not be downloaded",
            expected=f"it in --data DIR, in ${VARIABLE}, in the cache, or on the network",
            got="; ".join(failures),
            hint="give the directory that holds it: --data DIR",
        ) from error


def _download_mirror(known: KnownDataSet, cache: Path) -> None:
    """Download the mirror to a temporary folder, check it, and move it into the cache."""
    assert known.mirror is not None
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{known.name}.") as temporary:
        folder = Path(temporary) / known.name
        dataset_snapshot(known.mirror, folder=folder)
        try:
            read = restore_official_order(recognise(folder, known).train(), known)
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
            if not (cache / known.name).is_dir():  # unless another process was faster
                raise OutputError(f"{cache} cannot be written: {error.strerror}") from error
