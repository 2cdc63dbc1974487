from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from datacurate.attacks.fab import to_boundary


@pytest.mark.parametrize("reachable", [True, False])
def test_the_move_to_the_boundary_is_the_smallest(reachable: bool) -> None:
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
        optimum = linprog(
            np.append(np.zeros(size), 1),
            A_ub=upper,
            b_ub=np.zeros(2 * size),
            A_eq=np.append(g, 0)[None],
            b_eq=[-value[row].item()],
            bounds=[*zip(-p, 1 - p, strict=True), (0, None)],
        )
        assert move[row].abs().max().item() == pytest.approx(optimum.fun, abs=1e-7)
