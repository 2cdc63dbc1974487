"""A model under attack, as the attacks see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx

Predict = Callable[[Tensor], Tensor]
"""Pixels (N, C, H, W) in [0, 1] to float32 logits (N, K)."""

Backward = Callable[[Tensor], Tensor]
"""Gradient with respect to logits (N, K) to gradient with respect to pixels (N, C, H, W)."""

Differentiable = Callable[[Tensor], tuple[Tensor, Backward]]
"""Pixels to float32 logits and the backward pass through them."""


@dataclass(frozen=True)
class AttackedModel:
    """Several ways to compute the logits of one model, from exact to cheap.

    Attributes
    ----------
    exact_logits : callable
        The model itself in float32. It decides whether an example is broken.
    search_logits : callable
        The cheapest forward pass on this device, perhaps in bfloat16. Attacks search with it.
    float32_logits : callable
        The same function up to float32 rounding, without gradients. Attacks compare with it.
    folded : GraphModule, optional
        The copy with folded batch normalisation that computes `float32_logits`.
    explicit_gradients : callable, optional
        `search_logits` with a backward pass that does not need autograd.
    incremental_forward : bool
        Whether Square may use the incremental forward pass of `folded`.
    rounding_error : float
        Estimate of the error of `search_logits` in a difference of two logits.
    float32 : AttackedModel, optional
        The same model with `search_logits` in float32, if they are in a lower precision here.
    """

    exact_logits: Predict
    search_logits: Predict
    float32_logits: Predict
    folded: fx.GraphModule | None = None
    explicit_gradients: Differentiable | None = None
    incremental_forward: bool = True
    rounding_error: float = 0.0
    float32: AttackedModel | None = None

    def differentiable(self, x: Tensor) -> tuple[Tensor, Backward]:
        """Return `search_logits` and their backward pass, whose gradients are contiguous.

        Call the backward pass before the next forward pass of this model.

        Parameters
        ----------
        x : Tensor of float32, shape (N, C, H, W)
            Pixels in [0, 1].

        Returns
        -------
        logits : Tensor of float32, shape (N, K)
        backward : callable
            Takes the gradient with respect to the logits, returns that with respect to `x`.
        """
        if self.explicit_gradients is not None:
            logits, backward = self.explicit_gradients(x)
            return logits, lambda gradient: backward(gradient).contiguous()
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.search_logits(point)
        return logits.detach(), lambda gradient: torch.autograd.grad(logits, point, gradient)[0]
