"""Batches: crop and flip against a plain one-image computation, keyed by the example."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datacurate.data.batches import as_pixels, augment_batch, epoch_order
from datacurate.recipes import Augmentation


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    chance = np.random.default_rng(0)
    return torch.from_numpy(chance.integers(1, 256, (40, 8, 8, 3), dtype=np.uint8))


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_an_epoch_visits_each_example_once(count: int, seed: int, epoch: int) -> None:
    order = epoch_order(count, seed, epoch)
    assert np.array_equal(np.sort(order), np.arange(count))


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4


def test_every_batch_is_a_crop_of_the_padded_image_or_of_its_mirror(images: torch.Tensor) -> None:
    rows = np.arange(40)
    padding = 2
    got = augment_batch(images, rows, Augmentation(padding, True), seed=3, epoch=5)
    seen = set()
    for row in rows:
        padded = np.zeros((12, 12, 3), dtype=np.uint8)
        padded[2:10, 2:10] = images[row].numpy()
        candidates = {}
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop = padded[top : top + 8, left : left + 8]
                candidates[(top, left, False)] = crop
                candidates[(top, left, True)] = crop[:, ::-1]
        found = got[row].permute(1, 2, 0).numpy() * 255
        matches = [key for key, crop in candidates.items() if np.allclose(found, crop, atol=1e-3)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len({key[:2] for key in seen}) > 10  # of 25 places
    assert {key[2] for key in seen} == {True, False}


def test_an_example_is_augmented_alike_in_any_batch(images: torch.Tensor) -> None:
    chosen = Augmentation(1, True)
    whole = augment_batch(images, np.arange(40), chosen, seed=1, epoch=2)
    some = np.array([31, 4, 17])
    assert torch.equal(augment_batch(images, some, chosen, 1, 2), whole[torch.from_numpy(some)])
    assert not torch.equal(augment_batch(images, np.arange(40), chosen, 1, 3), whole)


def test_without_augmentation_the_pixels_are_the_images(images: torch.Tensor) -> None:
    plain = augment_batch(images, np.arange(40), Augmentation(0, False), seed=1, epoch=2)
    assert torch.equal(plain, as_pixels(images))
    assert plain.min() > 0
    assert plain.max() <= 1
    assert plain.is_contiguous(memory_format=torch.channels_last)
