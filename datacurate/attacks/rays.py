"""RayS: the nearest boundary along rays of signs, from labels alone.

Chen and Gu, "RayS: a ray searching method for hard-label adversarial attack"
(https://arxiv.org/abs/2006.12792), algorithms 1 to 3.
"""

from __future__ import annotations

import torch

from datacurate.attacks.attack_batch import AttackBatch

_TOLERANCE = 1e-3  # of the radius a binary search ends with, as in the paper's experiments


def rays(batch: AttackBatch, *, queries: int) -> None:
    """Run RayS once on every example of a batch.

    A direction is a sign for every value of the image, at first all positive. Blocks of signs,
    halved after each sweep, are flipped in turn; a flip stays if the image is still misclassified
    at the best radius so far, and a binary search then finds the new radius. Every example asks
    one label at a time, and leaves once its radius is within the ball. Nothing is drawn.

    Parameters
    ----------
    batch : AttackBatch
    queries : int
    """
    rows = batch.unbroken_rows()
    x, y = batch.x[rows].flatten(1), batch.y[rows]
    size = x.shape[1]
    places = torch.arange(size, device=x.device)
    signs = torch.ones_like(x)
    best = torch.full((len(rows),), torch.inf, device=x.device)
    # A binary search is under way between `low` and `high` while `searching`.
    low, high = torch.zeros_like(best), torch.ones_like(best)
    searching = torch.zeros_like(best, dtype=torch.bool)
    level = torch.zeros_like(rows)
    block = torch.zeros_like(rows)
    for _ in range(queries):
        if not len(rows):
            return
        length = (size + 2**level - 1) // 2**level
        in_block = torch.div(places, length[:, None], rounding_mode="floor") == block[:, None]
        tried = torch.where(in_block, -signs, signs)
        # The range of pixels ends every ray within a radius of 1.
        length_tried = torch.where(searching, (low + high) / 2, best.clamp(max=1))
        images = (x + length_tried[:, None] * tried).clamp_(0, 1).view(-1, *batch.x.shape[1:])
        wrong = batch.model.float32_logits(images).argmax(dim=1) != y
        batch.count_work(rows, steps=1, forwards=1)

        low = torch.where(searching & ~wrong, length_tried, low)
        high = torch.where(searching & wrong, length_tried, high)
        starting = ~searching & wrong
        low = torch.where(starting, 0, low)
        high = torch.where(starting, length_tried, high)
        ended = searching & (high - low <= _TOLERANCE)
        improved = ended & (high < best)
        best = torch.where(improved, high, best)
        signs = torch.where(improved[:, None], tried, signs)
        done = ended | (~searching & ~wrong)
        searching = (searching | starting) & ~ended
        block = block + done
        swept = block * length >= size
        level = torch.where(swept & (2**level < size), level + 1, level)
        block = torch.where(swept, 0, block)

        within = wrong & (length_tried <= batch.radius)
        hit = batch.confirm(rows, images, within)
        if hit.any():
            left = ~hit
            rows, x, y, signs, best, low, high, searching, level, block = (
                value[left]
                for value in (rows, x, y, signs, best, low, high, searching, level, block)
            )
