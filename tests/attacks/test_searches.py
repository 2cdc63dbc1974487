from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from datacurate.attacks import searches, suites
from datacurate.attacks.acceleration.batchnorm_folding import Affine, _affine, fused
from datacurate.attacks.apgd import checkpoints, cross_entropies, margins, targeted_dlr
from datacurate.attacks.attack_batch import AttackBatch
from datacurate.attacks.attacked_model import AttackedModel
from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.fab import to_boundary
from datacurate.attacks.rays import rays
from datacurate.attacks.square import WholeTrials, side, square
from datacurate.attacks.transfer import transfer
from datacurate.errors import UsageError
from datacurate.nets import build
from datacurate.recipes import Model
from tests.attacks.models import Linear, Normed, clear_images, linear, worst_margins

RADIUS = 6 / 255


def attack_batch(model: nn.Module, count: int = 40, radius: float = RADIUS) -> AttackBatch:
    model.requires_grad_(False)
    x, y = clear_images(model, count)
    return AttackBatch(AttackedModel(model, model, model), x, y, radius)


def test_checkpoints_are_the_paper_s():
    # p: 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 (section 3.1).
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_the_dlr_loss_knows_no_scale_and_no_shift():
    logits = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0]])
    y, target = torch.tensor([0]), torch.tensor([1])
    expected = (1.0 - 3.0) / (3.0 - (0.5 + 0.0) / 2)
    assert targeted_dlr(logits, y, target)[0].item() == pytest.approx(expected)
    assert targeted_dlr(7 * logits + 4, y, target)[0].item() == pytest.approx(expected)


@pytest.mark.parametrize("losses", [cross_entropies, targeted_dlr, margins])
def test_losses_give_the_gradients_of_autograd(losses):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 6, generator=generator).requires_grad_()
    y, target = torch.randint(6, (2, 50), generator=generator)
    target = torch.where(target == y, (y + 1) % 6, target)
    loss, gradient = losses(logits, y, target)
    (expected,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("reachable", [True, False])
def test_the_move_to_the_boundary_is_the_smallest(reachable):
    generator = torch.Generator().manual_seed(int(reachable))
    point = torch.rand(6, 1, 3, 4, generator=generator).double()
    gradient = torch.randn(6, 1, 3, 4, generator=generator).double()
    gradient[0, 0, 0] = 0
    value = torch.randn(6, generator=generator).double() * (1 if reachable else 100)
    move = to_boundary(point, value, gradient)
    assert ((point + move >= -1e-12) & (point + move <= 1 + 1e-12)).all()
    after = value + (gradient * move).flatten(1).sum(1)
    if not reachable:
        moved = point + move
        ends = (gradient == 0) | (moved.abs() < 1e-12) | ((moved - 1).abs() < 1e-12)
        assert ends.all()
        assert (after.abs() < value.abs()).all()
        return
    assert torch.allclose(after, torch.zeros_like(after), atol=1e-6)
    for row in range(6):
        p, g = point[row].flatten().numpy(), gradient[row].flatten().numpy()
        # Minimise t subject to |move| <= t, the plane, and the range of pixels.
        size = len(p)
        ones = np.ones((size, 1))
        upper = np.block([[np.eye(size), -ones], [-np.eye(size), -ones]])
        found = linprog(
            np.append(np.zeros(size), 1),
            A_ub=upper,
            b_ub=np.zeros(2 * size),
            A_eq=np.append(g, 0)[None],
            b_eq=[-value[row].item()],
            bounds=[*zip(-p, 1 - p, strict=True), (0, None)],
        )
        assert move[row].abs().max().item() == pytest.approx(found.fun, abs=1e-7)


def test_sides_of_squares_follow_the_schedule():
    # p from 0.8, halved after 10, 50, 200, 500, 1000, 2000 and 4000 queries; 32×32 pixels.
    for query, halvings in ((0, 0), (10, 0), (11, 1), (51, 2), (1001, 5), (4001, 7)):
        expected = round(math.sqrt(0.8 / 2**halvings * 1024))
        assert side(query, 32, 32) == expected
    assert side(4999, 4, 4) == 1


def brute_force_margin(model: Linear, x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Return the smallest margin over every corner of a tiny image's ball."""
    lower, upper = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    least = torch.full((len(x),), torch.inf)
    for corner in itertools.product((False, True), repeat=x[0].numel()):
        image = torch.where(torch.tensor(corner).view(x.shape[1:]), upper, lower)
        logits = model(image)
        others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
        least = torch.minimum(least, logits.gather(1, y[:, None])[:, 0] - others)
    return least


def test_square_and_rays_find_what_trying_every_corner_finds():
    # Two classes: no local optimum keeps single pixels from the best corner.
    model = linear(2, 9).requires_grad_(False)
    x, y = clear_images(model, 60, size=3)
    radius = 0.1
    truth = brute_force_margin(model, x, y, radius)
    attacked = AttackedModel(model, model, model)
    keys = np.arange(60, dtype=np.uint64)
    by_square, by_rays = AttackBatch(attacked, x, y, radius), AttackBatch(attacked, x, y, radius)
    with torch.no_grad():
        square(by_square, WholeTrials(model), keys, 1, queries=3000)
        rays(by_rays, queries=2000)
    assert 10 < (truth < 0).sum() < 50
    for batch in (by_square, by_rays):
        assert not (batch.broken & (truth > 1e-5)).any()
    # Rays of whole blocks miss a few corners.
    assert torch.equal(by_square.broken, truth <= 0)
    assert (~by_rays.broken & (truth < -1e-5)).sum() <= 4
    assert (by_square.steps[~by_square.broken.numpy()] == 3000).all()
    assert (by_square.forwards < 3000).all(), "a square that is there already costs no pass"


def coarse(classes: int, pixels: int) -> Linear:
    """Return a linear model of so few bits that sums of them are exact in any order."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (classes, pixels), generator=generator) / 8
    return Linear(weight, -weight.sum(dim=1) / 2).requires_grad_(False)


def test_squares_asked_ahead_are_those_asked_one_by_one():
    model = coarse(4, 3 * 36)
    x, y = clear_images(model, 12, channels=3, size=6)
    x = (x * 16).round() / 16
    y = model(x).argmax(dim=1)
    batches, passes = {}, {}
    for tries in (1, 7, 96):
        asked = []

        def predict(pixels: Tensor, asked: list[int] = asked) -> Tensor:
            asked.append(len(pixels))
            return model(pixels)

        batches[tries] = batch = AttackBatch(AttackedModel(model, model, model), x, y, 1 / 32)
        with torch.no_grad():
            keys = np.arange(12, dtype=np.uint64)
            square(batch, WholeTrials(predict), keys, 5, queries=400, tries=tries)
        passes[tries] = len(asked)
    assert passes[96] < passes[7] / 2 <= passes[1] / 2
    plain = batches[1]
    assert 1 <= plain.broken.sum() <= 11
    for batch in batches.values():
        assert torch.equal(batch.broken, plain.broken)
        assert torch.equal(batch.candidates, plain.candidates)
        assert np.array_equal(batch.steps, plain.steps)
        assert np.array_equal(batch.forwards, plain.forwards)


@pytest.mark.parametrize("attack", ["apgd-t", "fab-t"])
def test_targets_at_a_time_are_the_same_searches(attack):
    model = linear(5, 64).requires_grad_(False)
    x, y = clear_images(model, 40)
    keys = np.arange(40, dtype=np.uint64)
    passes = [suites.Pass(attack, target, 12) for target in range(1, 5)]
    attacked = AttackedModel(model, model, model)
    together = AttackBatch(attacked, x, y, RADIUS / 4, runs=4)
    alone = [AttackBatch(attacked, x, y, RADIUS / 4) for _ in passes]
    with torch.no_grad():
        searches.search(passes, together, keys=keys, seed=0)
        for step, batch in zip(passes, alone, strict=True):
            searches.search([step], batch, keys=keys, seed=0)
    whole = together.per_example()
    broken = torch.stack([batch.broken for batch in alone])
    assert torch.equal(whole.broken, broken.any(dim=0))
    assert 5 <= whole.broken.sum() <= 35
    assert (broken.sum(dim=0) > 1).any(), "some examples break towards several targets"
    assert (model(whole.candidates).argmax(dim=1) != y).equal(whole.broken)
    assert torch.equal(whole.candidates[~whole.broken], x[~whole.broken])
    counts = {name: sum(getattr(h, name) for h in alone) for name in ("steps", "gradients")}
    for name, count in counts.items():
        left = ~whole.broken.numpy()
        assert np.array_equal(getattr(whole, name)[left], count[left])
        assert (getattr(whole, name) <= count).all(), "who is broken leaves all attempts"


@pytest.mark.parametrize("suite", ["custom", "fast", "pgd-20"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_gradient_suites_against_the_exact_robust_set(suite, classes):
    model = linear(classes, 64)
    x, y = clear_images(model, 80)
    truth = worst_margins(model, x, y, RADIUS)
    outcome = autoattack(model, x, y, radius=RADIUS, suite=suite, seed=0)
    assert (truth[outcome.broken_by >= 0] < 1e-5).all()
    missed = np.count_nonzero(truth[outcome.robust] < -1e-5)
    # Cross-entropy alone goes to one class, which need not be the nearest within the pixels.
    assert missed == 0 if suite == "fast" or classes == 2 else missed <= 10
    assert outcome.robust.any()


@pytest.mark.parametrize("suite", ["pgd-10", "pgd-20", "square", "rays", "fast", "standard"])
def test_every_survivor_has_the_whole_budget(suite, monkeypatch):
    monkeypatch.setattr(suites, "_QUERIES", 60)
    monkeypatch.setattr(suites, "_LABEL_QUERIES", 300)
    monkeypatch.setattr(suites, "_ITERATIONS", 12)
    model = linear(5, 64)
    x, y = clear_images(model, 40)
    outcome = autoattack(model, x, y, radius=RADIUS / 2, suite=suite, seed=0)
    assert outcome.robust.any()
    budgets = {"pgd": int(suite[4:] or 0) if suite.startswith("pgd") else 0, "square": 60}
    budgets |= {"rays": 300, "apgd-ce": 12, "apgd-t": 48, "fab-t": 48, "runner-up": 20}
    budgets |= {"nearest": 4 * 8 + 3 * 40}
    for attack, spent in zip(outcome.attacks, outcome.spent_on_survivors(), strict=True):
        assert spent["steps"] == [budgets[attack]] * 2, attack
        if attack in ("apgd-ce", "apgd-t", "fab-t", "pgd", "runner-up", "nearest"):
            assert spent["gradients"] == spent["steps"]
    assert (outcome.spent[0][outcome.broken_by >= 0, 0] <= budgets[outcome.attacks[0]]).all()


def test_transfer_from_the_model_itself_and_from_a_stranger():
    model = linear(4, 64)
    x, y = clear_images(model, 60)
    truth = worst_margins(model, x, y, RADIUS)
    settings = {"radius": RADIUS, "suite": "transfer", "seed": 0}
    itself = autoattack(model, x, y, surrogate=model, **settings)
    assert (truth[itself.broken_by >= 0] < 1e-5).all()
    white_box = autoattack(model, x, y, radius=RADIUS, suite="pgd-20", seed=0)
    assert abs(int(itself.robust.sum()) - int(white_box.robust.sum())) <= 3
    stranger = autoattack(model, x, y, surrogate=linear(4, 64, seed=5), **settings)
    assert stranger.robust.sum() > itself.robust.sum()
    assert stranger.spent_on_survivors()[0] == {
        "steps": [50, 50],
        "forwards": [1, 1],
        "gradients": [0, 0],
    }
    with pytest.raises(UsageError, match="surrogate"):
        autoattack(model, x, y, **settings)
    with pytest.raises(UsageError, match="surrogate"):
        autoattack(model, x, y, radius=RADIUS, suite="custom", seed=0, surrogate=model)


def test_a_claim_that_is_not_confirmed_lets_the_search_go_on():
    model = linear(3, 64).requires_grad_(False)
    x, y = clear_images(model, 30)
    lying = torch.zeros(())

    def quick(pixels: Tensor) -> Tensor:
        # The first answers are wrong about everything, as a coarse arithmetic may be about some.
        lying.add_(1)
        return model(pixels).roll(1, dims=1) if lying <= 3 else model(pixels)

    honest, lied = (
        AttackBatch(AttackedModel(model, predict, model), x, y, RADIUS)
        for predict in (model, quick)
    )
    surrogate_less = np.arange(30, dtype=np.uint64)
    with torch.no_grad():
        for batch in (honest, lied):
            searches.search([suites.Pass("apgd-ce", 0, 60)], batch, keys=surrogate_less, seed=0)
    assert lied.unconfirmed > 30
    assert honest.unconfirmed == 0
    assert (lied.broken != honest.broken).sum() <= 2
    assert lied.broken.any()


@pytest.mark.parametrize("name", ["preact-small", "preact-resnet18", "cnn-small", "vgg11-bn"])
def test_fused_copies_repeat_the_network(name):
    net = build(Model(name, 8), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
    net.eval()
    x = torch.rand(5, 3, 32, 32, generator=generator)
    copied = fused(net, x, torch.float32)
    assert copied is not None
    assert not [module for module in copied.modules() if type(module) is nn.BatchNorm2d]
    torch.testing.assert_close(copied(x), net(x), rtol=1e-4, atol=1e-4)
    gradients = []
    for predict in (net, copied):
        point = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(predict(point).square().sum(), point)[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    coarse = fused(net, x, torch.bfloat16)
    assert coarse is not None
    assert coarse(x).dtype == torch.float32


class Counting(nn.Module):
    """A network whose path depends on its input, which no trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Normed()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.mean() > 0.1 else -self.inner(x)


def test_networks_that_cannot_be_copied_are_attacked_as_they_are():
    model = Counting().eval()
    x, y = clear_images(model, 12, channels=3)
    assert fused(model, x, torch.float32) is None
    whole = autoattack(model, x, y, radius=4 / 255, suite="custom", seed=0)
    inner = autoattack(model.inner, x, y, radius=4 / 255, suite="custom", seed=0)
    assert np.array_equal(whole.broken_by, inner.broken_by)


def test_batch_normalisation_without_a_convolution_before_it():
    norm = nn.BatchNorm2d(3).eval()
    norm.running_mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(Affine(*_affine(norm), relu=True)(x), norm(x).relu())


def test_relentless_hunts_end_with_every_step():
    batch = attack_batch(linear(4, 64))
    surrogate = batch.model
    transfer(batch, surrogate, "transfer-pgd", np.arange(40, dtype=np.uint64), 0, steps=7)
    assert (batch.steps == 7).all()
