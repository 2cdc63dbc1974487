from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from datacurate.attacks.pgd import pgd


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: a second one slows networks this small down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits_net() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a small network trained with PGD on digits, and 120 images it was not trained on."""
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
            for rows in torch.split(torch.randperm(1597), 64):
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
                torch.autograd.backward(nn.functional.cross_entropy(net(adversarial), y[rows]))
                optimizer.step()
    return net.eval(), x[1597:1717], y[1597:1717]
