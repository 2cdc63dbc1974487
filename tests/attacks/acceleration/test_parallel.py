from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from datacurate.attacks.acceleration.parallel import run_in_parallel, split_rows
from datacurate.attacks.arguments import AttackArguments
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.autoattack import AutoAttack, autoattack
from datacurate.attacks.settings import AttackSettings
from datacurate.attacks.table import ATTACKS, AttackSpec
from datacurate.errors import DatacurateError, UsageError
from tests.attacks.models import clear_images, linear
from tests.attacks.networks import right_everywhere


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_parts_are_of_all_rows_and_not_too_small() -> None:
    for count, expected in ((0, [0]), (7, [7]), (8, [4, 4]), (33, [17, 16])):
        cut = split_rows(np.arange(count) * 3)
        assert [len(part) for part in cut] == expected
        assert np.array_equal(np.concatenate(cut), np.arange(count) * 3)
    torch.set_num_threads(1)
    assert len(split_rows(np.arange(100))) == 1


def recording(spec: AttackSpec, sizes: list[int]) -> AttackSpec:
    """Return an attack that notes the sizes of the batches that this process attacks."""

    def run(batch: AttackBatch, arguments: AttackArguments) -> None:
        sizes.append(len(batch.x))
        spec.run(batch, arguments)

    return replace(spec, run=run)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("suite", ["standard", "rays"])
def test_verdicts_and_budgets_are_those_of_one_part(suite: str) -> None:
    steps = {"square": 60, "rays": 200, "apgd-ce": 10, "apgd-t": 10, "fab-t": 10}
    net, x, y = right_everywhere(24)
    settings = AttackSettings(radius_255=1.02, suite=suite, steps=steps)
    torch.set_num_threads(1)
    many = autoattack(net, x, y, settings)
    torch.set_num_threads(2)
    # How many targets share a batch changes what is spent on examples that one of them breaks.
    settings = replace(settings, rows_per_thread=1)
    sizes: list[int] = []
    attacks = {name: recording(spec, sizes) for name, spec in ATTACKS.items()}
    together = AutoAttack(net, x, y, settings, attacks=attacks).run()
    assert sizes[0] == 12, "the 24 images are attacked in two parts"
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    alone = autoattack(net, x, y, settings)
    assert 3 <= alone.robust.sum() <= 21
    assert together.spent is not None
    assert alone.spent is not None
    assert many.spent is not None
    assert np.array_equal(together.broken_by, alone.broken_by)
    assert np.array_equal(together.spent, alone.spent)
    assert np.array_equal(many.broken_by, alone.broken_by)
    assert np.array_equal(many.spent[:, many.robust], alone.spent[:, alone.robust])
    assert (many.spent >= alone.spent).all()


@pytest.mark.usefixtures("two_threads")
def test_an_error_ends_the_other_part() -> None:
    model = linear(3, 64)
    x, y = clear_images(model, 8)
    batches = [
        AttackBatch(AttackedModel(model, model, model), part, y[:4], 0.1)
        for part in torch.split(x, 4)
    ]
    begun = threading.Event()

    def endless(batch: AttackBatch) -> Tensor:
        while True:
            batch.count_work(torch.arange(4), steps=1)
            begun.set()

    def failing() -> Tensor:
        begun.wait()
        raise ValueError("a search that fails")

    with pytest.raises(ValueError, match="that fails"):
        run_in_parallel([failing, partial(endless, batches[1])], batches, autograd=True)
    assert batches[1].steps.min() > 0
    assert torch.get_num_threads() == 2


def searched(batch: AttackBatch, ends: str = "well") -> Tensor:
    """Find half of the examples, in a process of its own or not."""
    if ends == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if ends == "badly":
        raise UsageError("a search that fails")
    batch.count_work(torch.arange(len(batch.x)), steps=3, forwards=2)
    batch.candidates += 0.25
    batch.broken[::2] = True
    batch.unconfirmed += os.getpid()
    return batch.broken


@pytest.mark.skipif(sys.platform != "linux", reason="processes are not copied elsewhere")
def test_searches_without_gradients_go_on_in_processes() -> None:
    model = linear(3, 64)
    x, y = clear_images(model, 12)
    batches = [
        AttackBatch(AttackedModel(model, model, model), part, y[:4], 0.1)
        for part in torch.split(x, 4)
    ]
    searches = [partial(searched, batch) for batch in batches]
    claims = run_in_parallel(searches, batches, autograd=False)
    assert len({batch.unconfirmed for batch in batches}) == 3
    assert batches[0].unconfirmed == os.getpid()
    for batch, claimed in zip(batches, claims, strict=True):
        assert claimed.tolist() == batch.broken.tolist() == [True, False] * 2
        assert torch.equal(batch.candidates, batch.x + 0.25)
        assert batch.steps.tolist() == [3] * 4
        assert batch.forwards.tolist() == [2] * 4
        assert not batch.gradients.any()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are not copied elsewhere")
@pytest.mark.parametrize(
    ("ends", "error", "words"),
    [("badly", UsageError, "that fails"), ("killed", DatacurateError, "without a message")],
)
def test_a_process_that_fails_is_heard(ends: str, error: type[Exception], words: str) -> None:
    model = linear(3, 64)
    x, y = clear_images(model, 12)
    batches = [
        AttackBatch(AttackedModel(model, model, model), part, y[:4], 0.1)
        for part in torch.split(x, 4)
    ]
    each: list[Callable[[], Tensor]] = [
        partial(searched, batches[0]),
        partial(searched, batches[1], ends),
        batches[2].x.sum,
    ]
    before = multiprocessing.active_children()
    with pytest.raises(error, match=words):
        run_in_parallel(each, batches, autograd=False)
    assert multiprocessing.active_children() == before
