from __future__ import annotations

import io
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyautoattack
import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from datacurate.attacks import autoattack as harness
from datacurate.attacks import searches, suites
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.frozen import frozen
from datacurate.attacks.outcome import CLEAN_WRONG, SURVIVED
from datacurate.attacks.pgd import pgd
from datacurate.attacks.suites import Pass
from datacurate.errors import DatacurateError, StateError, UsageError
from tests.attacks.models import Linear, Normed, clear_images, linear, worst_margins
from tests.attacks.networks import right_everywhere

RADIUS = 16 / 255


@pytest.fixture
def few_queries(monkeypatch):
    monkeypatch.setattr(suites, "_QUERIES", 100)


def package(model, x, y, radius, version, seed, queries=5000):
    """Return which examples the package itself leaves, with restarts and targets set right."""
    attacks = ["apgd-ce", "apgd-t"] if version == "custom" else None
    attack = AutoAttack(model, attacks=attacks, eps=radius, seed=seed, version=version)
    attack.apgd.n_restarts = 1
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(
        9, model(x[:1]).shape[1] - 1
    )
    attack.square.n_queries = queries
    _, predicted = attack.run_standard_evaluation(x, y)
    return (predicted == y).numpy()


@pytest.mark.usefixtures("few_queries")
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_finds_the_exact_robust_set_of_a_linear_model(classes):
    model = linear(classes, 64)
    x, y = clear_images(model, 80)
    y[:5] = (y[:5] + 1) % classes
    radius = 6 / 255
    margins = worst_margins(model, x, y, radius)
    for suite in ("custom", "standard"):
        outcome = autoattack(model, x, y, radius=radius, suite=suite, seed=0)
        assert np.array_equal(outcome.clean_correct, np.arange(80) >= 5)
        assert (margins[outcome.broken_by >= 0] < 1e-5).all(), "broke what cannot be broken"
        assert outcome.unconfirmed == 0
    # The standard suite has FAB, which solves the linear problem; what is left beyond rounding
    # must be robust.
    assert (margins[outcome.robust] > -1e-5).all()
    assert 5 < outcome.robust.sum() < 70
    assert outcome.left[-1] == outcome.robust.sum()
    assert all(a >= b for a, b in zip(outcome.left, outcome.left[1:], strict=False))
    assert len(outcome.seconds) == len(outcome.attacks)


@pytest.fixture(scope="module")
def digits_net():
    """Return a small network trained against PGD on digits, and 120 images it did not see."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
    y = torch.from_numpy(labels).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 10),
        )
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(6):
            for rows in torch.randperm(1597).split(64):
                adversarial = pgd(
                    net,
                    x[rows],
                    y[rows],
                    radius=0.15,
                    step=0.08,
                    steps=3,
                    start="uniform",
                    generator=generator,
                )
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(adversarial), y[rows]).backward()
                optimizer.step()
    return net.eval(), x[1597:1717], y[1597:1717]


def test_custom_agrees_with_the_package(digits_net):
    net, x, y = digits_net
    ours = autoattack(net, x, y, radius=0.2, suite="custom", seed=0).robust
    assert 20 < ours.sum() < 100
    # The starting points differ, so an example on the boundary may.
    assert np.count_nonzero(ours != package(net, x, y, 0.2, "custom", 0)) <= 2


def test_standard_agrees_with_the_package(digits_net, monkeypatch):
    monkeypatch.setattr(suites, "_QUERIES", 300)
    net, x, y = digits_net[0], digits_net[1][:40], digits_net[2][:40]
    outcome = autoattack(net, x, y, radius=0.2, suite="standard", seed=0)
    theirs = package(net, x, y, 0.2, "standard", 0, queries=300)
    assert np.count_nonzero(outcome.robust != theirs) <= 1
    assert outcome.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")


class Quantised(nn.Module):
    """A linear model behind a staircase: gradients are zero almost everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear(4, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.round(x * 16) / 16)


def test_square_breaks_masked_gradients_and_the_outcome_warns(capfd, caplog, monkeypatch):
    monkeypatch.setattr(suites, "_QUERIES", 1000)
    model = Quantised()
    x, y = clear_images(model, 40)
    outcome = autoattack(
        model, x, y, radius=RADIUS, suite="standard", seed=0, implementation="package"
    )
    by_square = np.mean(outcome.broken_by == outcome.attacks.index("square"))
    assert by_square > 0.1
    assert [text for text in outcome.warnings if "mask its gradients" in text]
    theirs = package(model, x, y, RADIUS, "standard", 0, queries=1000)
    assert np.count_nonzero(outcome.robust != theirs) <= 4
    caplog.clear()
    capfd.readouterr()
    autoattack(model, x, y, radius=RADIUS, suite="custom", seed=0, implementation="package")
    assert not caplog.records, "the package warns of zero gradients; that must go nowhere"
    assert capfd.readouterr() == ("", "")


def test_an_example_does_not_depend_on_the_others(digits_net):
    net, x, y = digits_net[0], digits_net[1][:24], digits_net[2][:24]
    keys = np.arange(24, dtype=np.uint64) + 7
    settings = {"radius": 0.2, "suite": "custom", "seed": 0}
    whole = autoattack(net, x, y, keys=keys, **settings).broken_by
    small = autoattack(net, x, y, keys=keys, batch_size=7, **settings).broken_by
    rows = np.arange(23, -1, -3)
    part = autoattack(net, x[rows], y[rows], keys=keys[rows], **settings).broken_by
    # Kernels for other batch sizes round otherwise, which may turn the closest call.
    assert np.count_nonzero(whole != small) <= 1
    assert np.count_nonzero(whole[rows] != part) <= 1


@pytest.mark.parametrize("implementation", ["own", "package"])
@pytest.mark.parametrize(
    "step", [Pass("apgd-ce", 0, 30), Pass("apgd-t", 2, 30), Pass("square", 0, 100)]
)
def test_a_search_keeps_each_example_its_noise(step, implementation):
    # Weights and pixels of few bits add without rounding, so that equal means equal.
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (5, 64), generator=generator) / 8
    model = Linear(weight, -(weight * 8).sum(dim=1).round() / 16)
    x, y = clear_images(model, 30)
    keys = np.arange(30, dtype=np.uint64)
    rows = np.arange(2, 30, 3)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), frozen(model):
        attacked = AttackedModel(model, model, model)
        whole = AttackBatch(attacked, x, y, RADIUS / 4)
        part = AttackBatch(attacked, x[rows], y[rows], RADIUS / 4)
        settings = {"seed": 0, "implementation": implementation}
        claimed = searches.search([step], whole, keys=keys, **settings)
        claimed_part = searches.search([step], part, keys=keys[rows], **settings)
    assert torch.equal(claimed[rows], claimed_part)
    assert 0 < claimed_part.sum() < 10
    torch.testing.assert_close(whole.candidates[rows], part.candidates)
    assert np.array_equal(whole.steps[rows], part.steps)


@pytest.mark.usefixtures("few_queries")
def test_leaves_model_and_generators_as_they_were():
    model = Normed()
    x, y = clear_images(model, 12, channels=3)
    model.train()
    model.body[1].eval()
    model.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    states = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),  # noqa: NPY002
        random.getstate(),
    )
    trace = sys.gettrace()
    outcome = autoattack(model, x, y, radius=4 / 255, suite="standard", seed=0)
    assert outcome.clean_correct.all()
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert sys.gettrace() is trace


@pytest.mark.usefixtures("few_queries")
@pytest.mark.parametrize(("batch_size", "saved"), [(20, 1 + 4 + 4 + 1), (36, 1 + 2 + 2 + 1)])
def test_resumes_after_any_pass_to_the_same_outcome(batch_size, saved):
    model = linear(5, 64)
    x, y = clear_images(model, 20)
    states, calls = [], []
    settings = {"radius": RADIUS / 4, "suite": "standard", "seed": 0, "batch_size": batch_size}
    whole = autoattack(
        model,
        x,
        y,
        save=lambda state: states.append(json.dumps(state)),
        progress=lambda *call: calls.append(call),
        **settings,
    )
    assert len(states) == saved
    assert calls[0] == ("apgd-ce", 20, 20)
    for text in states:
        resumed = autoattack(model, x, y, state=json.loads(text), **settings)
        assert np.array_equal(resumed.broken_by, whole.broken_by)
    last = autoattack(model, x, y, state=json.loads(states[-1]), **settings)
    assert last.seconds == whole.seconds
    state = json.loads(states[0])
    for other in ({"seed": 1}, {"radius": RADIUS}, {"suite": "custom"}):
        with pytest.raises(StateError, match="belongs to another"):
            autoattack(model, x, y, state=state, **{**settings, **other})
    with pytest.raises(StateError):
        autoattack(linear(5, 64, seed=9), x, y, state=state, **settings)


@pytest.mark.usefixtures("few_queries")
def test_memory_layout_does_not_matter():
    model = Normed()
    x, y = clear_images(model, 12, channels=3)
    last = x.to(memory_format=torch.channels_last)
    settings = {"radius": 4 / 255, "suite": "standard", "seed": 0}
    outcomes = [autoattack(model, images, y, **settings).broken_by for images in (x, last)]
    assert np.array_equal(*outcomes)
    assert (outcomes[0] == SURVIVED).any(), "every attack must have had something to do"


def claims(shift: float):
    """Return a search that claims every example, moved by a shift."""

    def search(step, batch, **_):
        batch.candidates = batch.x + shift
        return torch.ones(len(batch.x), dtype=torch.bool)

    return search


def test_claims_are_confirmed(monkeypatch):
    model = linear(4, 64)
    x, y = clear_images(model, 10)
    x = x / 2 + 0.25
    y = model(x).argmax(dim=1)
    settings = {"radius": RADIUS, "suite": "custom", "seed": 0}
    monkeypatch.setattr(harness, "search", claims(0.0))
    outcome = autoattack(model, x, y, **settings)
    assert (outcome.broken_by == SURVIVED).all()
    assert outcome.unconfirmed == 10 * 2, "APGD-CE, and three targets of APGD-T at a time"
    outcome = autoattack(model, x, y, batch_size=10, **settings)
    assert outcome.unconfirmed == 10 * 4, "one target at a time"
    monkeypatch.setattr(harness, "search", claims(2 * RADIUS))
    with pytest.raises(DatacurateError, match="apgd-ce claims adversarial examples"):
        autoattack(model, x, y, **settings)
    monkeypatch.setattr(harness, "search", claims(0.3))
    with pytest.raises(DatacurateError, match="not allowed"):
        autoattack(model, x, y, radius=0.5, suite="custom", seed=0)
    monkeypatch.setattr(harness, "search", claims(float("nan")))
    with pytest.raises(DatacurateError, match="not allowed"):
        autoattack(model, x, y, **settings)


class Altered(nn.Module):
    def __init__(self, alter) -> None:
        super().__init__()
        self.inner, self.alter = linear(4, 64), alter

    def forward(self, x: Tensor) -> Tensor:
        return self.alter(self.inner(x))


def test_refuses_models_and_data_that_mean_nothing():
    model = linear(4, 64)
    x, y = clear_images(model, 8)
    settings = {"radius": RADIUS, "suite": "custom", "seed": 0}
    with pytest.raises(DatacurateError, match="not finite"):
        autoattack(Altered(lambda z: z / 0), x, y, **settings)
    with pytest.raises(DatacurateError, match="a second time"):
        autoattack(Altered(lambda z: z + torch.rand_like(z)), x, y, **settings)
    with pytest.raises(UsageError, match="labels"):
        autoattack(model, x, y + 4, **settings)
    with pytest.raises(UsageError, match="pixels"):
        autoattack(model, x * 255, y, **settings)
    with pytest.raises(UsageError, match="fit together"):
        autoattack(model, x, y[:4], **settings)
    with pytest.raises(UsageError, match="fit together"):
        autoattack(model, x[:0], y[:0], **settings)


def test_warns_of_probabilities():
    x, y = clear_images(linear(4, 64), 8)
    model = Altered(lambda z: z.softmax(dim=1))
    outcome = autoattack(model, x, y, radius=RADIUS, suite="custom", seed=0)
    assert "probabilities" in outcome.warnings[0]


def test_nothing_to_attack():
    model = linear(4, 64)
    x, y = clear_images(model, 8)
    outcome = autoattack(model, x, (y + 1) % 4, radius=RADIUS, suite="standard", seed=0)
    assert (outcome.broken_by == CLEAN_WRONG).all()
    assert outcome.left == (0, 0, 0, 0)


@pytest.mark.real_data
def test_agrees_with_the_package_on_its_own_network(monkeypatch):
    test_split = Path(__file__).parents[3] / "shared/data/cifar10/test-00000-of-00001.parquet"
    if not test_split.exists():
        pytest.skip("the real images are not there")
    import pyarrow.parquet as pq
    from PIL import Image

    rows = pq.read_table(test_split).slice(0, 4).to_pylist()
    images = [np.array(Image.open(io.BytesIO(row["img"]["bytes"]))) for row in rows]
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    y = torch.tensor([row["label"] for row in rows])

    examples = Path(pyautoattack.__file__).parent / "examples"
    monkeypatch.syspath_prepend(str(examples))
    from resnet import ResNet18

    net = ResNet18().eval()
    net.load_state_dict(torch.load(examples / "model_test.pt", map_location="cpu"))

    # A few iterations: seconds. The network was not trained against attacks, and at this radius
    # some examples break and some hold.
    monkeypatch.setattr(suites, "_ITERATIONS", 5)
    radius = 0.5 / 255
    attack = AutoAttack(net, attacks=["apgd-ce", "apgd-t"], eps=radius, seed=0, version="custom")
    attack.apgd = APGDAttack(net, n_iter=5, eps=radius, seed=0, device="cpu")
    attack.apgd_targeted = APGDAttack_targeted(net, n_iter=5, eps=radius, seed=0, device="cpu")
    _, predicted = attack.run_standard_evaluation(x.contiguous(), y)
    outcome = autoattack(net, x, y, radius=radius, suite="custom", seed=0)
    assert np.array_equal(outcome.robust, (predicted == y).numpy())
    assert 0 < outcome.robust.sum() < outcome.clean_correct.sum()


def test_what_bfloat16_may_have_missed_is_searched_for_again(monkeypatch):
    net, x, y = right_everywhere(400)
    with_sharp = harness._victim

    def without_sharp(*given):
        return replace(with_sharp(*given), float32=None, rounding_error=0.0)

    missed = {"again": 0, "once": 0}
    for radius in (0.002, 0.003):
        settings = {"radius": radius, "suite": "custom", "seed": 0}
        exact = autoattack(net, x, y, **settings)
        for way, attacked in (("again", with_sharp), ("once", without_sharp)):
            monkeypatch.setattr(harness, "_victim", attacked)
            found = autoattack(net, x, y, dtype=torch.bfloat16, **settings)
            missed[way] += np.count_nonzero(exact.robust != found.robust)
            close = (found.spent.sum(axis=(0, 2)) > exact.spent.sum(axis=(0, 2))) & exact.robust
            assert close.any() == (way == "again")
            assert close.sum() < found.robust.sum() / 2
        monkeypatch.undo()
    assert missed["again"] <= 1
    assert missed["once"] > missed["again"]
