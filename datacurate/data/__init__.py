"""Data sets: any known layout → uint8 images in canonical order, with their identity."""

from datacurate.data.images import DataSet, ImageData

__all__ = ["DataSet", "ImageData"]
