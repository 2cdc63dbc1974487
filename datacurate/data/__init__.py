"""Data sets: any known layout → uint8 images in canonical order, with their identity."""

from datacurate.data.corruption import flip_labels
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import Standing, standing
from datacurate.data.loading import known_names, load, load_train

__all__ = [
    "DataSet",
    "ImageData",
    "Standing",
    "flip_labels",
    "known_names",
    "load",
    "load_train",
    "standing",
]
