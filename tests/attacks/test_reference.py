from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyautoattack
import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from datacurate.attacks.autoattack import autoattack
from datacurate.attacks.settings import AttackSettings
from tests.attacks.models import Quantised, clear_images

Net = tuple[nn.Module, Tensor, Tensor]


def package_robust(
    model: nn.Module, x: Tensor, y: Tensor, radius: float, version: str, queries: int = 5000
) -> npt.NDArray[np.bool_]:
    """Return which examples the package's own driver leaves, with one restart of each attack."""
    attacks = ["apgd-ce", "apgd-t"] if version == "custom" else None
    attack = AutoAttack(model, attacks=attacks, eps=radius, seed=0, version=version)
    attack.apgd.n_restarts = 1
    classes = model(x[:1]).shape[1]
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
    attack.square.n_queries = queries
    _, predicted = attack.run_standard_evaluation(x, y)
    robust: npt.NDArray[np.bool_] = (predicted == y).numpy()
    return robust


def test_custom_agrees_with_the_package(digits_net: Net) -> None:
    net, x, y = digits_net
    ours = autoattack(net, x, y, AttackSettings(radius_255=51, suite="custom")).robust
    assert 20 < ours.sum() < 100
    # The starting points differ, so an example on the boundary may differ too.
    assert np.count_nonzero(ours != package_robust(net, x, y, 0.2, "custom")) <= 2


def test_standard_agrees_with_the_package(digits_net: Net) -> None:
    net, x, y = digits_net[0], digits_net[1][:40], digits_net[2][:40]
    outcome = autoattack(net, x, y, AttackSettings(radius_255=51, steps={"square": 300}))
    package = package_robust(net, x, y, 0.2, "standard", queries=300)
    assert np.count_nonzero(outcome.robust != package) <= 1
    assert outcome.attacks == ("apgd-ce", "apgd-t", "fab-t", "square")


def test_square_breaks_masked_gradients_and_the_outcome_warns(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = Quantised()
    x, y = clear_images(model, 40)
    settings = AttackSettings(radius_255=16, implementation="package", steps={"square": 1000})
    outcome = autoattack(model, x, y, settings)
    by_square = np.mean(outcome.broken_by == outcome.attacks.index("square"))
    assert by_square > 0.1
    assert [text for text in outcome.warnings if "mask its gradients" in text]
    package = package_robust(model, x, y, 16 / 255, "standard", queries=1000)
    assert np.count_nonzero(outcome.robust != package) <= 4
    caplog.clear()
    capfd.readouterr()
    settings = AttackSettings(radius_255=16, suite="custom", implementation="package")
    autoattack(model, x, y, settings)
    assert not caplog.records, "the package's warnings of zero gradients are silenced"
    assert capfd.readouterr() == ("", "")


@pytest.mark.real_data
def test_agrees_with_the_package_on_its_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
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
    net: nn.Module = importlib.import_module("resnet").ResNet18().eval()
    net.load_state_dict(torch.load(examples / "model_test.pt", map_location="cpu"))

    # A few iterations take seconds. The network was not trained against attacks; at this radius
    # some examples break and some do not.
    radius = 0.5 / 255
    attack = AutoAttack(net, attacks=["apgd-ce", "apgd-t"], eps=radius, seed=0, version="custom")
    attack.apgd = APGDAttack(net, n_iter=5, eps=radius, seed=0, device="cpu")
    attack.apgd_targeted = APGDAttack_targeted(net, n_iter=5, eps=radius, seed=0, device="cpu")
    _, predicted = attack.run_standard_evaluation(x.contiguous(), y)
    steps = {"apgd-ce": 5, "apgd-t": 5}
    outcome = autoattack(net, x, y, AttackSettings(radius_255=0.5, suite="custom", steps=steps))
    assert np.array_equal(outcome.robust, (predicted == y).numpy())
    assert 0 < outcome.robust.sum() < outcome.clean_correct.sum()
