"""Read data sets of any known layout into uint8 arrays in canonical order, with identity."""

from datacurate.data.corruption import flip_labels
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import OfficialStatus, adopt_official_identity, official_status
from datacurate.data.loading import known_names, load, load_train

__all__ = [
    "DataSet",
    "ImageData",
    "OfficialStatus",
    "adopt_official_identity",
    "flip_labels",
    "known_names",
    "load",
    "load_train",
    "official_status",
]
