"""Fixtures for real images, which are not part of the project: tests skip where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

# Test files run side by side, one process a core: a second thread in each would only wait. It is
# read when torch is first imported, here and in the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

from datacurate.data import ImageData, load_train
from datacurate.identity import Identity, identify

# A busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Hide the GPUs from tests that are not about them: what they expect is of a CPU."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data sets: ``$DATACURATE_TEST_DATA``, or one beside the checkout."""
    place = Path(os.environ.get("DATACURATE_TEST_DATA", _BESIDE_CHECKOUT))
    if not place.is_dir():
        pytest.skip(f"no real images in {place}; set DATACURATE_TEST_DATA to their directory")
    return place


@pytest.fixture(scope="session")
def cifar10_train(shared_data: Path) -> ImageData:
    """All 50,000 training images of CIFAR-10, lossless, in official order."""
    return load_train("cifar10", shared_data / "cifar10")


@pytest.fixture(scope="session")
def cifar10_first5000(cifar10_train: ImageData) -> Identity:
    """The identity of the first 5,000 of them."""
    images, labels = cifar10_train.images[:5000], cifar10_train.labels[:5000]
    return identify("cifar10", "train", images, labels, cifar10_train.identity.class_names)


@pytest.fixture(scope="session")
def cifar10_jpegs(shared_data: Path) -> ImageData:
    """The same 5,000 images as JPEGs."""
    return load_train("cifar10", shared_data / "cifar10-jpeg-first5000")


@pytest.fixture(scope="session")
def upstream_npy() -> Path:
    """The ranks that the paper's authors published, as they did, or skip."""
    beside = _BESIDE_CHECKOUT.parent / "upstream"
    path = Path(os.environ.get("DATACURATE_TEST_UPSTREAM", beside)) / "prob_rank.npy"
    if not path.is_file():
        pytest.skip(f"no {path}; set DATACURATE_TEST_UPSTREAM to its directory")
    return path


@pytest.fixture(scope="session")
def upstream_ranks(upstream_npy: Path) -> npt.NDArray[np.float64]:
    """The ranks that the paper's authors published for CIFAR-10; see their repository."""
    ranks: npt.NDArray[np.float64] = np.load(upstream_npy, allow_pickle=False)
    return ranks
