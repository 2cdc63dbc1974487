from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared" / "upstream"


@pytest.fixture(scope="session")
def upstream_ranks() -> npt.NDArray[np.float64]:
    """The ranks that the paper's authors published for CIFAR-10; see their repository."""
    place = Path(os.environ.get("DATACURATE_TEST_UPSTREAM", _BESIDE_CHECKOUT)) / "prob_rank.npy"
    if not place.is_file():
        pytest.skip(f"no {place}; set DATACURATE_TEST_UPSTREAM to its directory")
    ranks: npt.NDArray[np.float64] = np.load(place, allow_pickle=False)
    return ranks
