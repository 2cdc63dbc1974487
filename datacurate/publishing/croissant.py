"""Croissant metadata of a bundle: its files with their hashes.

There are no record sets, because Croissant 1.0 cannot describe the columns of an HDF5 file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datacurate.fingerprints import sha256_file
from datacurate.formats.rankfile import RankFile

_FORMATS = {
    ".h5": "application/x-hdf5",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".png": "image/png",
}
_TERMS = (
    "data dataType examples extract field fileObject fileProperty fileSet includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform column format equivalentProperty citeAs"
)
# The context of the specification, unchanged: readers compare it.
_CONTEXT: Mapping[str, Any] = {
    **{term: f"cr:{term}" for term in _TERMS.split()},
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


def croissant(
    ranks: RankFile,
    repository: str,
    folder: Path,
    files: list[str],
    *,
    name: str,
    description: str,
    citation: str,
    licence: str | None = None,
) -> dict[str, Any]:
    """Return the Croissant metadata of a bundle, as JSON-LD.

    Parameters
    ----------
    ranks : RankFile
    repository : str
        ``owner/name`` on the Hub.
    folder : Path
        The folder of the files.
    files : list of str
        Paths of the files in the folder.
    name, description, citation : str
    licence : str, optional
    """
    page = f"https://huggingface.co/datasets/{repository}"
    stated: dict[str, Any] = {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "url": page,
        "citeAs": citation,
        "creator": {"@type": "sc:Organization", "name": repository.partition("/")[0]},
        "version": "1.0.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": f"{page}/resolve/main/{file}",
                "contentSize": f"{(folder / file).stat().st_size} B",
                "encodingFormat": _FORMATS[Path(file).suffix],
                "sha256": sha256_file(folder / file),
            }
            for file in files
        ],
    }
    if ranks.provenance.created:
        stated["datePublished"] = ranks.provenance.created[:10]
    if licence is not None:
        stated["license"] = licence
    return stated
