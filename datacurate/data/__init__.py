"""Data sets: any known layout → uint8 images in canonical order, with their identity."""

from datacurate.data.images import DataSet, ImageData
from datacurate.data.loading import load, load_train

__all__ = ["DataSet", "ImageData", "load", "load_train"]
