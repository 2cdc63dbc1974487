"""Read Parquet files in the schema of image data sets on the Hub.

An image column is a struct of ``bytes`` (an image file) and ``path``. Labels are integers; the
Hub's feature metadata in the Parquet schema names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datacurate.data.decoding import decode_images
from datacurate.data.layouts import Layout, Split
from datacurate.errors import DataError

_SPLIT = re.compile(r"(?:^|[-_.])(train|test|validation|valid|val)(?=[-_.]|$)")
_SHARD = re.compile(r"-(\d+)-of-(\d+)$")
_TEST_SPLITS = ("test", "validation", "valid", "val")  # the first one with labels is used
_LABEL_COLUMNS = ("label", "fine_label", "labels")


def recognise_parquet(path: Path) -> Layout | None:
    """Return the layout of a Parquet file or of a directory of Parquet files, or None.

    Files are sorted by name. The name of a file or of its folder gives the split
    (``train-00000-of-00002.parquet``, ``train/0000.parquet``). A single file is training data. So
    are files if none of their names gives a split.

    Raises
    ------
    DataError
        If files are not readable as Parquet, belong to no split, or shards are missing.
    """
    files = _parquet_files(path)
    if not files:
        return None
    splits = {"train": files} if path.is_file() else _by_split(files)
    if "train" not in splits:
        raise DataError(
            f"the parquet files in {path} hold no training split",
            expected="train-*.parquet",
            got=", ".join(file.name for file in files[:5]),
        )
    for shards in splits.values():
        _require_all_shards(shards)
    _, label, names = _columns(splits["train"][0])
    tests = [
        splits[name]
        for name in _TEST_SPLITS
        if name in splits and _columns(splits[name][0])[1] == label
    ]
    tests = [shards for shards in tests if _is_labelled(shards, label)]
    return Layout(
        kind="parquet",
        location=path,
        train=lambda: _read(splits["train"]),
        test=(lambda: _read(tests[0])) if tests else None,
        class_names=names,
    )


def _parquet_files(path: Path) -> list[Path]:
    """Return the Parquet files of a path: the file, or those of a folder or its subfolder."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    here = sorted(path.glob("*.parquet"))
    if here:
        return here
    folders = sorted({file.parent for file in path.glob("*/*.parquet")})
    folders = [folder for folder in folders if not folder.name.startswith(".")]
    splits = [folder for folder in folders if _SPLIT.fullmatch(folder.name)]
    if splits:
        folders = splits
    elif len(folders) > 1:
        raise DataError(
            f"{path} holds parquet files in several folders",
            got=", ".join(folder.name for folder in folders),
            hint=f"name one of them, such as {folders[0]}",
        )
    return [file for folder in folders for file in sorted(folder.glob("*.parquet"))]


def _by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    strays: list[Path] = []
    for file in files:
        match = _SPLIT.search(file.stem) or _SPLIT.fullmatch(file.parent.name)
        if match is None:
            strays.append(file)
        else:
            splits.setdefault(match[1], []).append(file)
    if strays and splits:
        raise DataError(
            f"the name of {strays[0]} gives no split although other names do",
            expected="names such as train-00000-of-00001.parquet and test-00000-of-00001.parquet",
            hint="rename it, or move it to another directory",
        )
    return splits or {"train": strays}


def _require_all_shards(files: Sequence[Path]) -> None:
    """Raise if a number is missing in the file names: the rows of later shards would shift."""
    numbers = [match for file in files if (match := _SHARD.search(file.stem))]
    total = max((int(match[2]) for match in numbers), default=0)
    have = sorted(int(match[1]) for match in numbers)
    if numbers and have != list(range(total)):
        raise DataError(
            f"shards of the data set are missing beside {files[0]}",
            expected=f"{total} files, numbered 0 to {total - 1}",
            got=", ".join(file.name for file in files[:6]),
            hint="download the missing files",
        )


def _columns(file: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the names of the image column, the label column and, if stated, the classes."""
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise _read_error(file, error) from error
    features = _features(schema)
    images = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and {"bytes", "path"} <= {child.name for child in field.type}
    ]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    labels = [name for name in _LABEL_COLUMNS if name in integers] + [
        name for name in integers if features.get(name, {}).get("_type") == "ClassLabel"
    ]
    if not images or not labels:
        raise DataError(
            f"{file} has no {'label' if images else 'image'} column",
            expected="a struct column with bytes and path, and an integer column label",
            got=", ".join(f"{field.name}: {field.type}" for field in schema),
        )
    names = features.get(labels[0], {}).get("names")
    return images[0], labels[0], tuple(str(name) for name in names) if names else None


def _features(schema: Any) -> dict[str, Any]:
    """Return the Hub's description of the columns, or an empty dictionary."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, KeyError, TypeError):
        return {}  # other metadata under the same key: use the column types alone
    return features if isinstance(features, dict) else {}


def _is_labelled(files: Sequence[Path], label: str) -> bool:
    """Return whether a split has labels: public test splits may have -1 instead."""
    return all((_labels(file, label) >= 0).all() for file in files)


def _labels(file: Path, column: str) -> npt.NDArray[np.int64]:
    try:
        table = pq.read_table(file, columns=[column])
    except (OSError, pa.ArrowException) as error:
        raise _read_error(file, error) from error
    values = table[column].combine_chunks()
    if values.null_count:
        raise DataError(f"{file} has {values.null_count:,} rows without a {column}")
    return np.asarray(values.to_numpy(zero_copy_only=False)).astype(np.int64)


def _read(files: Sequence[Path]) -> Split:
    """Read the shards of a split in order."""
    columns, rows = [], []
    for file in files:
        image, label, _ = _columns(file)
        columns.append((file, _image_bytes(file, image), _labels(file, label)))
        rows.append(len(columns[-1][2]))
    ends = np.cumsum(rows)

    def locate(position: int) -> tuple[int, int]:
        shard = int(np.searchsorted(ends, position, side="right"))
        return shard, position - int(ends[shard] - rows[shard])

    def where(position: int) -> str:
        shard, row = locate(position)
        return f"row {row} of {columns[shard][0]}"

    def read(position: int) -> bytes:
        shard, row = locate(position)
        value = columns[shard][1][row]
        if not value.is_valid:
            raise DataError(
                f"{where(position)} holds no image bytes",
                hint="embed the images in the Parquet files, or give the folder of images",
            )
        data: bytes = value.as_py()
        return data

    total = int(ends[-1])
    if total == 0:
        raise DataError(f"{files[0]} holds no rows")
    images = decode_images(total, read, where)
    return Split(images, np.concatenate([labels for _, _, labels in columns]))


def _image_bytes(file: Path, column: str) -> Any:
    """Return a column of image files as one Arrow array of binaries."""
    try:
        table = pq.read_table(file, columns=[column])
    except (OSError, pa.ArrowException) as error:
        raise _read_error(file, error) from error
    struct = table[column]
    chunks = struct.chunks if struct.num_chunks else [pa.array([], struct.type)]
    # 64-bit offsets, because a shard may be larger than 2 GiB.
    fields = [chunk.field("bytes").cast(pa.large_binary()) for chunk in chunks]
    return pa.concat_arrays(fields)


def _read_error(file: Path, error: Exception) -> DataError:
    return DataError(
        f"{file} cannot be read as parquet: {str(error).splitlines()[0]}",
        hint="download the file again",
    )
