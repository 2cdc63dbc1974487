"""The pruned data set on disk: the kept images as links, parquet or one ``.npz``."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datacurate.data import DataSet, ImageData
from datacurate.data.layouts import Layout
from datacurate.errors import DataError
from datacurate.formats.indexfile import IndexFile, require_match
from datacurate.identity import Match
from datacurate.outputs import atomic_directory, write_json

Form = Literal["folder", "parquet", "npz"]
Rows = npt.NDArray[np.int64]

MARK = "datacurate.json"
"""The file in the directory written that says what it is."""

_BATCH = 1000  # images encoded before they are written


def apply(
    index: IndexFile,
    data: DataSet,
    layout: Layout,
    out: Path,
    *,
    form: Form | None = None,
    name: str = "the rows",
    force: bool = False,
) -> tuple[Form, Match]:
    """Write the training images that an index file keeps, and the test split beside them.

    The kept images stay in their order. Where the data has no test split of its own, the examples
    borrowed for it are written as one, if none of them is kept.

    Parameters
    ----------
    index : IndexFile
    data : DataSet
        Whose training split the rows are for.
    layout : Layout
        From which it was read.
    out : Path
        A directory. With ``"folder"``: ``train/CLASS/…`` and ``test/CLASS/…`` of hard links, or of
        symbolic ones where hard ones cannot be. With ``"parquet"``: a file for each split, of PNGs
        in the Hub's image schema and the original row of each. With ``"npz"``: ``data.npz``.
    form : str, optional
        By default that of the data where it is one of these, else ``"npz"``.
    name : str
        What the index is called, for messages.
    force : bool
        Whether a directory that this function wrote before is replaced.

    Returns
    -------
    str
        The form.
    Match
        How the index's data relates to the data at hand.

    Raises
    ------
    DataMismatchError
        If the rows do not mean the examples of this data.
    DataError
        If links are asked for and the images are no files, or a class would be left without one.
    OutputError
        If the directory exists and `force` is false, or cannot be written; what was there stays.
    """
    match = require_match(index, data.train.identity, name)
    chosen = form or default_form(layout)
    test = None if np.isin(index.kept, data.borrowed).any() else data.test
    if chosen == "folder":
        _refuse_without_folder(index, data, layout)
    with atomic_directory(out, MARK, force) as place:
        if chosen == "folder":
            _write_links(place, index.kept, data, layout, test)
        elif chosen == "parquet":
            _write_parquet(place / "train-00000-of-00001.parquet", data.train, index.kept)
            if test is not None:
                rows = np.arange(len(test))
                _write_parquet(place / "test-00000-of-00001.parquet", test, rows)
        else:
            _write_arrays(place / "data.npz", data.train, index.kept, test)
        write_json(place / MARK, _statement(index, match, chosen, test))
    return chosen, match


def default_form(layout: Layout) -> Form:
    """Return the form of pruned data that is like the data itself."""
    if layout.train_files is not None:
        return "folder"
    return "parquet" if layout.kind == "parquet" else "npz"


def _refuse_without_folder(index: IndexFile, data: DataSet, layout: Layout) -> None:
    if layout.train_files is None:
        raise DataError(
            f"the images in {layout.location} are no files that could be linked",
            expected="folders of images",
            got=layout.kind,
            hint="--format parquet, or --format npz",
        )
    names = data.train.identity.class_names
    kept = np.bincount(data.train.labels[index.kept], minlength=len(names))
    for label in np.flatnonzero(kept == 0).tolist():
        raise DataError(
            f"no image of {names[label]} is kept: without its folder the classes after it would "
            "get other numbers",
            hint="keep some with `datacurate prune --floor`, or use --format npz",
        )


def _write_links(
    place: Path, kept: Rows, data: DataSet, layout: Layout, test: ImageData | None
) -> None:
    assert layout.train_files is not None
    names = data.train.identity.class_names
    files = layout.train_files()
    _link(place / "train", files, data.train.labels, kept, names)
    if test is None:
        return
    if layout.test_files is not None:
        _link(place / "test", layout.test_files(), test.labels, np.arange(len(test)), names)
    elif len(data.borrowed):
        _link(place / "test", files, data.train.labels, data.borrowed, names)


def _link(
    place: Path,
    files: Sequence[tuple[Path, str]],
    labels: npt.NDArray[np.int64],
    rows: Rows,
    names: Sequence[str],
) -> None:
    if len(files) != len(labels):
        raise DataError(
            f"the image files changed while they were read: {len(files):,} for {len(labels):,}",
            hint="run the command again",
        )
    for row in rows.tolist():
        file, below = files[row]
        target = place / names[labels[row]] / below
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = file.resolve()  # a hard link to a relative link would point elsewhere
        try:
            os.link(whole, target)
        except OSError:  # another file system, or one without hard links
            target.symlink_to(whole)


def _write_parquet(path: Path, data: ImageData, rows: Rows) -> None:
    names = list(data.identity.class_names)
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": names},
        "row": {"_type": "Value", "dtype": "int64"},
    }
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
        ("row", pa.int64()),
    ]
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, metadata=about)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            images = [
                {"bytes": _png(data.images[row]), "path": f"{data.identity.split}-{row}.png"}
                for row in batch.tolist()
            ]
            table = {"image": images, "label": data.labels[batch], "row": batch}
            writer.write_table(pa.table(table, schema=schema))


def _png(image: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def _write_arrays(path: Path, train: ImageData, kept: Rows, test: ImageData | None) -> None:
    arrays: dict[str, Any] = {
        "images": train.images[kept],
        "labels": train.labels[kept],
        "class_names": np.array(train.identity.class_names, dtype=np.str_),
        "rows": kept,
    }
    if test is not None:
        arrays |= {"test_images": test.images, "test_labels": test.labels}
    np.savez(path, **arrays)


def _statement(
    index: IndexFile, match: Match, form: Form, test: ImageData | None
) -> dict[str, Any]:
    return {
        "format": "datacurate.pruned",
        "form": form,
        "kept": len(index.kept),
        "of": index.dataset.examples,
        "test": len(test) if test is not None else 0,
        "dataset": index.dataset.name,
        "pixel_fingerprint": index.dataset.pixel_fingerprint,
        "label_fingerprint": index.dataset.label_fingerprint,
        "data_check": f"{match.relation.value}: {match.detail}",
        "selection": dict(index.selection),
        "source": dict(index.source),
    }
