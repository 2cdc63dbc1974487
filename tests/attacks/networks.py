"""Networks for attacks: one with unusual layers, one that is always right on its images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datacurate.nets import build
from datacurate.recipes import Model


class Broadcast(nn.Module):
    """A sum of a map and a map of one pixel, to which every window contributes everywhere."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.all = nn.Conv2d(1, 4, size)
        self.each = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head((self.each(x) + self.all(x)).mean(dim=(2, 3)))
        return logits


def right_everywhere(count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network with balanced classes, images of 8×8, and its predictions."""
    net = build(Model("cnn-small", 4), 10, 3, (0.5,) * 3, (0.2,) * 3, seed=0).eval()
    x = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    head = net.get_submodule("head")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.bias.sub_(net(x).mean(dim=0))
        return net, x, net(x).argmax(dim=1)
