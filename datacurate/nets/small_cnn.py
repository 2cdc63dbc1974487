"""A small convolutional network for CPUs."""

from __future__ import annotations

from torch import Tensor, nn

from datacurate.nets.blocks import convolution_block
from datacurate.nets.normalization import Normalize


class SmallCNN(nn.Module):
    """Four 3×3 convolutions at strides 1, 2, 2, 2 with batch normalisation: for CPUs.

    Without shortcuts it is almost only convolutions, which processors compute best.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the others have 2, 4 and 4 times as many.
    classes : int
    normalize : Normalize
    channels : int
        Channels of the image.
    """

    def __init__(self, width: int, classes: int, normalize: Normalize, channels: int) -> None:
        super().__init__()
        self.normalize = normalize
        layers: list[nn.Module] = []
        entering = channels
        for factor, stride in ((1, 1), (2, 2), (4, 2), (4, 2)):
            layers += convolution_block(entering, factor * width, stride)
            entering = factor * width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(entering, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) in [0, 1]."""
        logits: Tensor = self.head(self.features(self.normalize(x)).mean(dim=(2, 3)))
        return logits
