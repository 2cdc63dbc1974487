"""From a name or a path to a data set in memory, checked and identified."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datacurate.data.digits import digits
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import KNOWN
from datacurate.data.layouts import Layout, Split
from datacurate.data.parquet import recognise_parquet
from datacurate.errors import DataError, DataNotFoundError
from datacurate.identity import identify


def load(name: str, data: Path | None = None) -> DataSet:
    """Return a data set."""
    layout = _find(name, data)
    train = _split(name, "train", layout, layout.train())
    if layout.test is None:
        raise DataError("no test split")
    test = _split(name, "test", layout, layout.test())
    return DataSet(train, test, name != "digits", np.empty(0, dtype=np.int64))


def load_train(name: str, data: Path | None = None) -> ImageData:
    """Return the training split of a data set."""
    layout = _find(name, data)
    return _split(name, "train", layout, layout.train())


def _find(name: str, data: Path | None) -> Layout:
    if name == "digits" and data is None:
        return digits()
    layout = recognise_parquet(data or Path(name))
    if layout is None:
        raise DataNotFoundError(f"nothing at {data or name}")
    return layout


def _split(name: str, split: str, layout: Layout, read: Split) -> ImageData:
    names = layout.class_names or KNOWN[name].class_names
    identity = identify(name, split, read.images, read.labels, names)
    source = {"layout": layout.kind, "location": str(layout.location)}
    return ImageData(read.images, read.labels, identity, source)
