"""Wide residual networks (Zagoruyko and Komodakis, https://arxiv.org/abs/1605.07146).

WRN-d-k: a 3×3 stem of 16 channels, three stages of (d − 4)/6 pre-activation blocks with 16k, 32k
and 64k channels at strides 1, 2, 2, batch normalisation and ReLU before the pooled linear
classifier; no dropout. WRN-28-10 has 36.5 million parameters for ten classes.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from datacurate.nets.normalization import Normalize
from datacurate.nets.preact import PreActBlock


class WideResNet(nn.Module):
    """A pre-activation wide ResNet over pixels in [0, 1].

    Parameters
    ----------
    blocks : int
        In each stage, (d − 4)/6.
    widening : int
        k.
    width : int
        Channels of the stem; the stages have 1, 2 and 4 times k times as many.
    classes : int
    normalize : Normalize
    channels : int
        Of the image.
    """

    def __init__(
        self,
        blocks: int,
        widening: int,
        width: int,
        classes: int,
        normalize: Normalize,
        channels: int,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        stages: list[nn.Module] = []
        entering = width
        for stage in range(3):
            leaving = width * widening * 2**stage
            for block in range(blocks):
                stages.append(PreActBlock(entering, leaving, 2 if stage and not block else 1))
                entering = leaving
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(entering)
        self.head = nn.Linear(entering, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) in [0, 1]."""
        out = self.stages(self.stem(self.normalize(x)))
        out = functional.relu(self.norm(out)).mean(dim=(2, 3))
        logits: Tensor = self.head(out)
        return logits
