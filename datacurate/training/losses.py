"""The losses of the training methods, as functions of logits and labels.

Dong et al., Data Quality Matters, appendix on training: TRADES with β = 6, MART with boosted
cross-entropy and λ = 6, GAIRAT with A = 0. Every loss is a mean over the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def divergences(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Return KL(p(x) ‖ p(x + δ)) of each example, shape (B,), from logits of shape (B, K).

    Gradients flow through both.
    """
    log_clean, log_adversarial = clean.log_softmax(dim=1), adversarial.log_softmax(dim=1)
    return (log_clean.exp() * (log_clean - log_adversarial)).sum(dim=1)


def trades_loss(clean: Tensor, adversarial: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return CE(x, y) + β · KL(p(x) ‖ p(x + δ)), a scalar.

    Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy"
    (https://arxiv.org/abs/1901.08573), Eq. 5; β is their 1/λ. The clean probabilities are not
    detached.

    Parameters
    ----------
    clean, adversarial : Tensor of float, shape (B, K)
        Logits of x and of x + δ.
    y : Tensor of int64, shape (B,)
    beta : float
    """
    return functional.cross_entropy(clean, y) + beta * divergences(clean, adversarial).mean()


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return −log p_y − log(1 − max over k ≠ y of p_k), the mean over the batch.

    Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples"
    (ICLR 2020), Eq. 8. The second logarithm is taken from the logits of the other classes, so that
    it stays finite where the wrong class has nearly all of the probability.

    Parameters
    ----------
    logits : Tensor of float, shape (B, K)
    y : Tensor of int64, shape (B,)
    """
    true = functional.one_hot(y, logits.shape[1]).bool()
    rival = logits.masked_fill(true, float("-inf")).argmax(dim=1)
    others = logits.masked_fill(
        functional.one_hot(rival, logits.shape[1]).bool(), float("-inf")
    ).logsumexp(dim=1)
    not_rival = others - logits.logsumexp(dim=1)
    return functional.cross_entropy(logits, y) - not_rival.mean()


def mart_loss(clean: Tensor, adversarial: Tensor, y: Tensor, weight: float) -> Tensor:
    """Return BCE(x + δ, y) + λ · KL(p(x) ‖ p(x + δ)) · (1 − p_y(x)), a scalar.

    Wang et al. (ICLR 2020), Eq. 11; see `boosted_cross_entropy` for the first term. Nothing is
    detached.

    Parameters
    ----------
    clean, adversarial : Tensor of float, shape (B, K)
        Logits of x and of x + δ.
    y : Tensor of int64, shape (B,)
    weight : float
        λ.
    """
    true = functional.one_hot(y, clean.shape[1])
    doubt = 1 - (clean.softmax(dim=1) * true).sum(dim=1)
    term = (divergences(clean, adversarial) * doubt).mean()
    return boosted_cross_entropy(adversarial, y) + weight * term


def gairat_weights(kappa: Tensor, steps: int, offset: float) -> Tensor:
    """Return GAIRAT's weights (1 + tanh(A + 5(1 − 2κ/K)))/2, scaled to mean 1 over the batch.

    Zhang et al., "Geometry-aware Instance-reweighted Adversarial Training"
    (https://arxiv.org/abs/2010.01736), Eq. 6; normalised as in Data Quality Matters. The weight
    falls as κ grows: examples close to the decision boundary weigh most. The prose of Data Quality
    Matters says the opposite; this follows its formula.

    Parameters
    ----------
    kappa : Tensor of int64, shape (B,)
        At how many of the K attacked iterates, the start included, the prediction was right.
    steps : int
        K.
    offset : float
        A.

    Returns
    -------
    Tensor of float32, shape (B,)
    """
    # (1 + tanh z)/2 is sigmoid(2z), which keeps its digits where tanh is close to −1.
    weights = torch.sigmoid(2 * (offset + 5 * (1 - 2 * kappa.float() / steps)))
    return weights / weights.mean()
