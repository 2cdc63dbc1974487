"""The registry of published ranks: names, contents and sources."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from datacurate.errors import FileError, UsageError
from datacurate.outputs import write_text
from datacurate.remote.artifacts import artifacts_directory

Kind = Literal["upstream", "hub", "bundled"]

_FORMAT = 1
_FILE = "registry.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https?://\S+/[\w.-]+")
_PLACE: Mapping[Kind, tuple[str, ...]] = {
    "upstream": ("url",),
    "hub": ("repository", "revision", "file"),
    "bundled": ("file",),
}


@dataclass(frozen=True)
class Source:
    """One source of published ranks.

    Attributes
    ----------
    kind : str
        ``"upstream"``: the authors' array at a URL; ``"hub"``: a rank file in a data set
        repository; ``"bundled"``: a rank file that comes with the package.
    size : int
        Size of the transferred file in bytes.
    sha256 : str
        Hash of the transferred file, 64 hex digits.
    url, repository, revision, file : str
        Those that the kind has; empty otherwise. The revision is a full commit.
    """

    kind: Kind
    size: int
    sha256: str
    url: str = ""
    repository: str = ""
    revision: str = ""
    file: str = ""

    @property
    def address(self) -> str:
        """The pinned address in one line."""
        match self.kind:
            case "upstream":
                return self.url
            case "hub":
                return f"hf://datasets/{self.repository}@{self.revision}/{self.file}"
            case "bundled":
                return f"bundled with datacurate: {self.file}"

    @property
    def short(self) -> str:
        """The source in a few words."""
        match self.kind:
            case "upstream":
                return f"the authors, {self.url.split('/')[2]}"
            case "hub":
                return f"the Hub, {self.repository}"
            case "bundled":
                return "bundled"


@dataclass(frozen=True)
class Entry:
    """The registry entry of published ranks.

    Attributes
    ----------
    name, summary : str
    dataset, split : str
    examples : int
        N.
    recipe : str
        Name or description of the recipe.
    runs : int
    agreement : float or None
        Spearman's correlation with the ranks that the paper's authors published; None for other
        data.
    content_sha256 : str
        Content hash of the rank file; the same for every source.
    sources : tuple of Source
        In the order of preference.
    origin : str
        Address of the first publication; recorded in the rank file for every source.
    licence : str
    stands_in_for : str
        Name of the ranks that these replace, with a warning, if those are not available.
    """

    name: str
    summary: str
    dataset: str
    split: str
    examples: int
    recipe: str
    runs: int
    content_sha256: str
    sources: tuple[Source, ...]
    agreement: float | None = None
    origin: str = ""
    licence: str = ""
    stands_in_for: str = ""


def load(directory: Path | None = None) -> dict[str, Entry]:
    """Return the entries of a registry by name.

    Parameters
    ----------
    directory : Path, optional
        Folder of ``registry.toml``; by default that of the package.

    Raises
    ------
    FileError
        If it cannot be read or an entry is not valid.
    """
    path = (directory or artifacts_directory()) / _FILE
    return _parse(path, _text(path))


def register(directory: Path, entry: Entry) -> None:
    """Write an entry to a registry; replace an earlier entry of the same name.

    Parameters
    ----------
    directory : Path
        Folder of ``registry.toml``; its other entries stay unchanged.
    entry : Entry

    Raises
    ------
    FileError
        If the registry cannot be read, or is not valid with the entry.
    OutputError
        If it cannot be written.
    """
    path = directory / _FILE
    key = re.escape(_toml_key(entry.name))
    # From the heading of the entry to the next heading that is not one of its sources.
    block = re.compile(
        rf"^\[ranks\.{key}\]\n(?:(?!\[).*\n|\[\[ranks\.{key}\.sources\]\]\n)*", re.MULTILINE
    )
    text = block.sub("", _text(path)).rstrip() + "\n\n" + _block(entry)
    _parse(path, text)
    write_text(path, text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileError(f"the registry {path} cannot be read: {error}") from error


def _parse(path: Path, text: str) -> dict[str, Entry]:
    try:
        values = tomllib.loads(text)
    except ValueError as error:
        raise FileError(f"the registry {path} cannot be read: {error}") from error
    if values.get("format") != _FORMAT:
        raise FileError(
            f"the registry {path} has an unknown format",
            expected=str(_FORMAT),
            got=str(values.get("format")),
            hint="install the version of datacurate that it came with",
        )
    try:
        entries = {name: _entry(name, entry) for name, entry in values["ranks"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the registry {path} is not valid: {error}") from error
    return entries


def stand_in(entries: Mapping[str, Entry], name: str) -> Entry | None:
    """Return the ranks that replace those of a name if they are not available, or None."""
    return next((entry for entry in entries.values() if entry.stands_in_for == name), None)


def check_name(name: str) -> str:
    """Return a name of published ranks unchanged if it is valid.

    Raises
    ------
    UsageError
        If the name is not valid, for example because it is a path.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(
            f"{name!r} is not a valid name of published ranks",
            expected="letters, digits, dots, hyphens and underscores",
            hint="datacurate fetch lists the names there are",
        )
    return name


def check_repository(repository: str) -> str:
    """Return the name of a repository on the Hub unchanged if it is valid.

    Raises
    ------
    UsageError
        If the name does not have the form ``owner/name``.
    """
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise UsageError(f"{repository!r} is not a repository on the Hub", expected="OWNER/NAME")
    return repository


def is_commit(revision: str) -> bool:
    """Return whether a revision is a full commit, whose content never changes."""
    return _COMMIT.fullmatch(revision) is not None


def _block(entry: Entry) -> str:
    """Return the TOML text of an entry, without empty values."""
    lines = [f"[ranks.{_toml_key(entry.name)}]"]
    for field in fields(entry):
        value = getattr(entry, field.name)
        if field.name not in ("name", "sources") and value not in ("", None):
            lines.append(f"{field.name} = {json.dumps(value, ensure_ascii=False)}")
    for source in entry.sources:
        lines += ["", f"[[ranks.{_toml_key(entry.name)}.sources]]"]
        stated = {key: getattr(source, key) for key in ("kind", *_PLACE[source.kind])}
        for key, value in {**stated, "size": source.size, "sha256": source.sha256}.items():
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _toml_key(name: str) -> str:
    """Return a name as a TOML key; a name with dots needs quotes."""
    return json.dumps(name) if "." in name else name


def _entry(name: str, values: Mapping[str, Any]) -> Entry:
    """Return an entry; raise ValueError, TypeError or KeyError if it is not valid."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name")
    sources = tuple(_source(name, source) for source in values["sources"])
    if not sources:
        raise ValueError(f"{name} has no source")
    files = {source.sha256 for source in sources if source.kind != "upstream"}
    if len(files) > 1:
        raise ValueError(f"{name} would mean {len(files)} different rank files")
    entry = Entry(name=name, **{**values, "sources": sources})
    if not _SHA256.fullmatch(entry.content_sha256):
        raise ValueError(f"content_sha256 of {name} is not a sha256")
    return entry


def _source(name: str, values: Mapping[str, Any]) -> Source:
    source = Source(**values)
    if source.kind not in get_args(Kind):
        raise ValueError(f"a source of {name} is of kind {source.kind!r}")
    if missing := [key for key in _PLACE[source.kind] if not getattr(source, key)]:
        raise ValueError(f"a source of {name} has no {missing[0]}")
    if not _SHA256.fullmatch(source.sha256) or source.size < 1:
        raise ValueError(f"a source of {name} is not pinned by size and sha256")
    if source.kind == "upstream" and not _URL.fullmatch(source.url):
        raise ValueError(f"{source.url!r} is not the address of a file")
    if source.kind == "hub" and not (
        _REPOSITORY.fullmatch(source.repository) and is_commit(source.revision)
    ):
        raise ValueError(f"a source of {name} is not a repository at a full commit")
    path = PurePosixPath(source.file)
    if path.is_absolute() or ".." in path.parts or "\\" in source.file:
        raise ValueError(f"{source.file!r} leaves its folder")
    return source
