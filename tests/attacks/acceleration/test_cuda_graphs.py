"""Sizes of recorded batches; what recordings do is in `test_attacks_on_cuda.py`."""

from __future__ import annotations

import pytest
import torch

from datacurate.attacks.acceleration.cuda_graphs import filled, unfilled
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.batch_size import BATCH, fitting


def test_batches_are_filled_up_to_few_sizes_and_by_little() -> None:
    sizes = {filled(count) for count in range(1, 2049)}
    assert len(sizes) == 5 + (2048 - 256) // 128
    for count in range(1, 2049):
        assert count <= filled(count) <= max(16, 2 * count)
        if count > 256:
            assert filled(count) < count + 128
    assert filled(0) == 0
    assert [filled(count, (96,)) for count in (1, 96)] == [96, 96]


@pytest.mark.parametrize("most", [1, 15, 16, 17, 200, 256, 257, 383, 384, 2048])
def test_the_largest_batch_is_one_that_nothing_is_added_to(most: int) -> None:
    size = unfilled(most)
    assert 1 <= size <= most
    assert size < 16 or filled(size) == size
    assert all(filled(count) > most for count in range(size + 1, most + 1)) or size < 16


def test_on_a_cpu_a_batch_is_what_it_was() -> None:
    def predict(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("nothing is measured there")

    assert fitting(AttackedModel(predict, predict, predict), torch.zeros(4, 3, 8, 8)) == BATCH
