from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from datacurate.attacks.acceleration.batchnorm_folding import Affine, fold_batchnorm
from datacurate.nets import build
from datacurate.recipes import Model
from tests.attacks.test_autoattack import DependsOnInput


@pytest.mark.parametrize("name", ["preact-small", "preact-resnet18", "cnn-small", "vgg11-bn"])
def test_folded_copies_compute_the_same_function(name: str) -> None:
    net = build(Model(name, 8), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
    net.eval()
    x = torch.rand(5, 3, 32, 32, generator=generator)
    folded = fold_batchnorm(net, x, torch.float32)
    assert folded is not None
    assert not [module for module in folded.modules() if type(module) is nn.BatchNorm2d]
    torch.testing.assert_close(folded(x), net(x), rtol=1e-4, atol=1e-4)
    gradients = []
    for predict in (net, folded):
        point = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(predict(point).square().sum(), point)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)
    coarse = fold_batchnorm(net, x, torch.bfloat16)
    assert coarse is not None
    assert coarse(x).dtype == torch.float32


def test_networks_that_cannot_be_traced_have_no_folded_copy() -> None:
    model = DependsOnInput().eval()
    assert fold_batchnorm(model, torch.rand(2, 3, 8, 8), torch.float32) is None


class NormFirst(nn.Module):
    """Batch normalisation of the pixels, with a ReLU after it and no convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.relu(self.norm(x))
        return features.flatten(1)


def test_batch_normalisation_without_a_convolution_before_it() -> None:
    net = NormFirst().eval()
    assert net.norm.running_mean is not None
    assert net.norm.running_var is not None
    net.norm.running_mean.copy_(torch.tensor([0.1, 0.2, 0.3]))
    net.norm.running_var.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    folded = fold_batchnorm(net, x, torch.float32)
    assert folded is not None
    (affine,) = (module for module in folded.modules() if isinstance(module, Affine))
    assert affine.relu
    torch.testing.assert_close(folded(x), net(x))
