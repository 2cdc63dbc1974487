from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from datacurate.errors import DataError
from datacurate.ranks import scores

Bools = npt.NDArray[np.bool_]
records = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=20))


def plain_first_learned(row: list[bool]) -> int:
    return row.index(True) if True in row else -1


def plain_forgetting(row: list[bool]) -> int:
    if True not in row:
        return -1
    return sum(1 for now, then in itertools.pairwise(row) if now and not then)


@given(records)
def test_packing_loses_nothing(correct: Bools) -> None:
    packed = scores.pack(correct)
    assert packed.shape == (len(correct), scores.packed_width(correct.shape[1]))
    assert np.array_equal(scores.unpack(packed, correct.shape[1]), correct)


@given(records)
def test_scores_agree_with_their_definitions(correct: Bools) -> None:
    epochs = correct.shape[1]
    packed = scores.pack(correct)
    instability = scores.instability(packed, epochs)
    assert instability.dtype == np.float32
    # Eq. 1
    assert np.array_equal(instability, (1 - correct.sum(axis=1) / epochs).astype(np.float32))
    assert scores.first_learned(packed, epochs).tolist() == [
        plain_first_learned(row) for row in correct.tolist()
    ]
    assert scores.forgetting_events(packed, epochs).tolist() == [
        plain_forgetting(row) for row in correct.tolist()
    ]


def test_scores_of_known_histories() -> None:
    # Nine epochs, so that the record crosses into a second byte.
    correct = np.array(
        [
            [0, 0, 0, 0, 0, 0, 0, 0, 0],  # never learned
            [1, 1, 1, 1, 1, 1, 1, 1, 1],  # never forgotten
            [0, 0, 0, 0, 0, 0, 0, 1, 0],  # forgotten across the bytes
            [0, 0, 0, 0, 0, 0, 0, 0, 1],  # right at the end is not forgetting
            [1, 0, 1, 0, 1, 0, 1, 0, 1],
        ],
        dtype=bool,
    )
    packed = scores.pack(correct)
    assert scores.correct_epochs(packed).tolist() == [0, 9, 1, 1, 5]
    assert scores.first_learned(packed, 9).tolist() == [scores.NEVER, 0, 7, 8, 0]
    # A peer's mistake: the never-learned counted as never forgotten.
    assert scores.forgetting_events(packed, 9).tolist() == [scores.NEVER, 0, 1, 0, 4]


@given(st.integers(1, 1000))
def test_different_counts_stay_different(epochs: int) -> None:
    correct = np.tri(epochs + 1, epochs, -1, dtype=bool)
    instability = scores.instability(scores.pack(correct), epochs)
    assert len(np.unique(instability)) == epochs + 1
    assert instability[0] == 1
    assert instability[-1] == 0


@pytest.mark.parametrize(
    ("packed", "epochs"),
    [
        (np.zeros((3, 2), np.uint8), 8),
        (np.zeros((3, 1), np.uint8), 9),
        (np.zeros((3, 1), np.uint8), 0),
        (np.zeros(3, np.uint8), 8),
        (np.full((3, 1), 1, np.uint8), 7),
    ],
)
def test_records_that_do_not_fit_are_refused(packed: scores.U8, epochs: int) -> None:
    with pytest.raises(DataError, match=f"record of {epochs} epochs"):
        scores.instability(packed, epochs)
