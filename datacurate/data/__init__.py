"""Data sets: any known layout → uint8 images in canonical order, with their identity."""

from datacurate.data.corruption import flip_labels
from datacurate.data.images import DataSet, ImageData
from datacurate.data.known import Standing, completed, standing
from datacurate.data.loading import known_names, load, load_train

__all__ = [
    "DataSet",
    "ImageData",
    "Standing",
    "completed",
    "flip_labels",
    "known_names",
    "load",
    "load_train",
    "standing",
]
