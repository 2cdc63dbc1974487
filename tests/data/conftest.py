"""Small files in the layouts of data sets."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data.data_files import encoded


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write images into folders: name of the file → pixels."""

    def write(files: dict[str, np.ndarray], root: str = "images") -> Path:
        for name, pixels in files.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(pixels))
        return tmp_path / root

    return write


@pytest.fixture(scope="session")
def tiny_zip(shared_data: Path) -> Path:
    """Twenty classes of Tiny-ImageNet, as its makers pack it."""
    return shared_data / "tiny-imagenet-mini.zip"


@pytest.fixture(scope="session")
def tiny_folder(tiny_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, extracted."""
    place = tmp_path_factory.mktemp("tiny")
    with zipfile.ZipFile(tiny_zip) as archive:
        archive.extractall(place)
    return place / "tiny-imagenet-200"
