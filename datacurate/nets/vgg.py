"""VGG with batch normalisation.

Simonyan and Zisserman (https://arxiv.org/abs/1409.1556), configurations A, B and D, as used in
the literature on small images: batch normalisation after every convolution, the last feature map
pooled to one pixel, one linear classifier instead of three.
"""

from __future__ import annotations

from torch import Tensor, nn

from datacurate.nets.blocks import convolution_block
from datacurate.nets.normalization import Normalize

VGG11 = (1, 1, 2, 2, 2)
VGG13 = (2, 2, 2, 2, 2)
VGG16 = (2, 2, 3, 3, 3)
_WIDTHS = (1, 2, 4, 8, 8)


class VGG(nn.Module):
    """A VGG with batch normalisation over pixels in [0, 1].

    Parameters
    ----------
    convolutions : tuple of int
        Number in each of the five stages, which have 1, 2, 4, 8 and 8 times `width` channels and
        end in 2×2 max-pooling.
    width : int
    classes : int
    normalize : Normalize
    channels : int
        Channels of the image.
    """

    def __init__(
        self,
        convolutions: tuple[int, int, int, int, int],
        width: int,
        classes: int,
        normalize: Normalize,
        channels: int,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        layers: list[nn.Module] = []
        entering = channels
        for count, factor in zip(convolutions, _WIDTHS, strict=True):
            for _ in range(count):
                layers += convolution_block(entering, factor * width, 1)
                entering = factor * width
            # Rounding up keeps the last pixel of 8×8 images, which can only be halved three times.
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(entering, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) in [0, 1]."""
        logits: Tensor = self.head(self.features(self.normalize(x)).mean(dim=(2, 3)))
        return logits
