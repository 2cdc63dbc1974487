"""Forward passes of kept images with one window of pixels replaced, as Square asks for them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from datacurate.attacks.attacked_model import Predict


class WindowForward(Protocol):
    """Logits of images that differ from kept ones in one window."""

    def start(self, images: Tensor) -> Tensor:
        """Keep images of shape (N, C, H, W) and return their logits, (N, K)."""

    def attempt(self, rows: Tensor, tops: Tensor, lefts: Tensor, windows: Tensor) -> Tensor:
        """Return the logits of kept images with one window replaced in each, (B, K).

        Parameters
        ----------
        rows : Tensor of int64, shape (B,)
            Which kept image; an image may occur several times.
        tops, lefts : Tensor of int64, shape (B,)
            The upper left corner of its window.
        windows : Tensor of float32, shape (B, side, side, C)
        """

    def accept(self, which: Tensor) -> None:
        """Keep the windows of some images of the last attempt, at most one for each kept image."""

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""


class FullForward:
    """Compute every attempt with a forward pass over the whole image.

    Parameters
    ----------
    predict : callable
        Pixels (N, C, H, W) to logits (N, K).
    """

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def start(self, images: Tensor) -> Tensor:
        """Keep images of shape (N, C, H, W) and return their logits, (N, K)."""
        self.images = images.permute(0, 2, 3, 1).contiguous()
        return self._predict(images)

    def attempt(self, rows: Tensor, tops: Tensor, lefts: Tensor, windows: Tensor) -> Tensor:
        """Return the logits of kept images with one window replaced in each, (B, K)."""
        attempted = self.images[rows]
        each = torch.arange(len(rows), device=rows.device)
        attempted[window_indices(each, tops, lefts, windows.shape[1])] = windows
        self._rows, self._attempted = rows, attempted
        return self._predict(attempted.permute(0, 3, 1, 2))

    def accept(self, which: Tensor) -> None:
        """Keep the windows of some images of the last attempt, at most one for each kept image."""
        self.images[self._rows[which]] = self._attempted[which]

    def keep(self, rows: Tensor) -> None:
        """Drop all kept images but these."""
        self.images = self.images[rows]


def window_indices(
    rows: Tensor, tops: Tensor, lefts: Tensor, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the indices of one window in each of some images, stored channels last.

    Parameters
    ----------
    rows, tops, lefts : Tensor of int64, shape (B,)
        Image and upper left corner of each window.
    side : int
        In pixels.

    Returns
    -------
    tuple of Tensor
        Image, row and column indices, which broadcast to (B, side, side).
    """
    along = torch.arange(side, device=rows.device)
    down, across = tops[:, None] + along, lefts[:, None] + along
    return rows[:, None, None], down[:, :, None], across[:, None, :]
