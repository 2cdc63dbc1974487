"""The attributes of a rank file: identity and provenance as text, and the hash of the content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from datacurate.errors import FileError, NewerFormatError
from datacurate.fingerprints import canonical_json, columns_sha256, sha256_bytes
from datacurate.formats.provenance import Provenance
from datacurate.formats.strict_json import parsed_json
from datacurate.identity import Identity

FORMAT = "datacurate.ranks"
FORMAT_VERSION = "1.0"

_HEX = re.compile(r"[0-9a-f]{64}")


def from_parts(
    identity: Identity, provenance: Provenance, columns: Mapping[str, npt.NDArray[Any]]
) -> dict[str, str]:
    """Return every attribute of a rank file.

    Parameters
    ----------
    identity : Identity
    provenance : Provenance
    columns : mapping of str to ndarray
        Every column, with the dtype that it has in the file.
    """
    hashes = {name: column_sha256(name, values) for name, values in columns.items()}
    dataset = {
        "name": identity.name,
        "split": identity.split,
        "examples": len(identity),
        "classes": identity.classes,
        "shape": list(identity.shape),
        "label_fingerprint": identity.label_fingerprint,
        "pixel_fingerprint": identity.pixel_fingerprint,
    }
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": provenance.kind,
        "created": provenance.created,
        "dataset": canonical_json(dataset),
        "class_names": canonical_json(list(identity.class_names)),
        "aggregation": provenance.aggregation,
        "recipe": canonical_json(provenance.recipe),
        "recipe_hash": provenance.recipe_hash,
        "runs": canonical_json([dict(run) for run in provenance.runs]),
        "environment": canonical_json(dict(provenance.environment)),
        "source": canonical_json(dict(provenance.source)),
        "parents": canonical_json([dict(parent) for parent in provenance.parents]),
        "columns": canonical_json(hashes),
        "columns_sha256": sha256_bytes(canonical_json(hashes).encode()),
    }
    attributes["content_sha256"] = content_sha256(attributes)
    return attributes


def column_sha256(name: str, values: npt.NDArray[Any]) -> str:
    """Return the hash of one column: its name, type, shape and little-endian bytes."""
    return columns_sha256({name: values})


def content_sha256(attributes: Mapping[str, str]) -> str:
    """Return the hash of all other attributes. ``columns`` contains the hashes of all columns."""
    rest = {name: text for name, text in attributes.items() if name != "content_sha256"}
    return sha256_bytes(canonical_json(rest).encode())


@dataclass(frozen=True)
class Metadata:
    """The parsed attributes of a rank file.

    Attributes
    ----------
    dataset : mapping
    class_names : tuple of str
    provenance : Provenance
    column_hashes : mapping of str to str
    columns_sha256, content_sha256 : str
    """

    dataset: Mapping[str, Any]
    class_names: tuple[str, ...]
    provenance: Provenance
    column_hashes: Mapping[str, str]
    columns_sha256: str
    content_sha256: str


def parse_attributes(path: Path, attributes: Mapping[str, str]) -> Metadata:
    """Parse the attributes after checking their version, hash and structure.

    Raises
    ------
    NewerFormatError
        If the file has a later major version.
    FileError
        If anything is missing, of the wrong type, or not covered by the content hash.
    """
    _check_version(path, attributes)
    reader = _Reader(path, attributes)
    stated = reader.text("content_sha256")
    if stated != (computed := content_sha256(attributes)):
        raise FileError(
            f"{path} was changed after it was written: its attributes do not match their hash",
            expected=stated,
            got=computed,
            hint="get the file again, or make it again with `datacurate profile`",
        )
    runs = reader.json("runs", list)
    for number, run in enumerate(runs):
        epochs = run.get("epochs") if isinstance(run, dict) else None
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise reader.wrong("runs", f"run {number} does not state its epochs")
    dataset = reader.json("dataset", dict)
    for key, kind in _DATASET_FIELDS.items():
        if not isinstance(dataset.get(key), kind):
            raise reader.wrong("dataset", f"{key} is missing or has the wrong type")
    if not _HEX.fullmatch(dataset["label_fingerprint"]):
        raise reader.wrong("dataset", "label_fingerprint is not a sha256")
    names = reader.json("class_names", list)
    if not all(isinstance(name, str) for name in names) or len(names) != dataset["classes"]:
        raise reader.wrong("class_names", "it does not name every class")
    if not all(name.isprintable() for name in (*names, dataset["name"], dataset["split"])):
        raise reader.wrong("class_names", "a name holds control characters")
    shape = dataset["shape"]
    if len(shape) != 3 or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise reader.wrong("dataset", f"shape is {shape}")
    parents = reader.json("parents", list)
    if not all(isinstance(parent, dict) for parent in parents):
        raise reader.wrong("parents", "a parent is not an object")
    column_hashes = reader.json("columns", dict)
    return Metadata(
        dataset=dataset,
        class_names=tuple(names),
        provenance=Provenance(
            kind=reader.text("kind"),
            aggregation=reader.text("aggregation"),
            runs=tuple(runs),
            recipe=reader.json("recipe", (dict, type(None))),
            recipe_hash=reader.text("recipe_hash"),
            environment=reader.json("environment", dict),
            source=reader.json("source", dict),
            created=reader.text("created"),
            parents=tuple(parents),
        ),
        column_hashes=column_hashes,
        columns_sha256=reader.text("columns_sha256"),
        content_sha256=stated,
    )


_DATASET_FIELDS: Mapping[str, type] = {
    "name": str,
    "split": str,
    "examples": int,
    "classes": int,
    "shape": list,
    "label_fingerprint": str,
    "pixel_fingerprint": str,
}


class _Reader:
    """Attributes of one file, read with errors that name the file and the attribute."""

    def __init__(self, path: Path, attributes: Mapping[str, str]) -> None:
        self.path = path
        self.attributes = attributes

    def text(self, name: str) -> str:
        if name not in self.attributes:
            raise self.wrong(name, "it is missing")
        return self.attributes[name]

    def json(self, name: str, kind: type | tuple[type, ...]) -> Any:
        try:
            value = parsed_json(self.text(name))
        except ValueError as error:
            raise self.wrong(name, "it is not JSON") from error
        if not isinstance(value, kind):
            raise self.wrong(name, "the JSON value has the wrong type")
        return value

    def wrong(self, name: str, why: str) -> FileError:
        return FileError(
            f"attribute {name} of {self.path} is invalid: {why}",
            hint="get the file again from its source",
        )


def _check_version(path: Path, attributes: Mapping[str, str]) -> None:
    if attributes.get("format") != FORMAT:
        raise FileError(
            f"{path} is an HDF5 file, but not a rank file",
            expected=f"attribute format = {FORMAT}",
            got=attributes.get("format") or "no such attribute",
            hint="make ranks with `datacurate profile`",
        )
    version = attributes.get("format_version", "")
    if not re.fullmatch(r"\d{1,6}\.\d{1,6}", version):
        raise FileError(f"{path} has no valid format version", expected="1.0", got=repr(version))
    if int(version.partition(".")[0]) > int(FORMAT_VERSION.partition(".")[0]):
        raise NewerFormatError(
            f"{path} was written by a later version of datacurate",
            expected=f"format version 1.x, up to {FORMAT_VERSION} in full",
            got=f"format version {version}",
            hint=f"install a datacurate that reads format {version}: pip install -U datacurate",
        )
