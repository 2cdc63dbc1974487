"""Plain convolutional networks: VGG with batch normalisation, and a small one for CPUs.

VGG: Simonyan and Zisserman (https://arxiv.org/abs/1409.1556), configurations A, B and D, as the
literature on small images uses them: batch normalisation after every convolution, the last feature
map pooled to one pixel, one linear classifier instead of three.
"""

from __future__ import annotations

from torch import Tensor, nn

from datacurate.nets.normalization import Normalize

VGG11 = (1, 1, 2, 2, 2)
VGG13 = (2, 2, 2, 2, 2)
VGG16 = (2, 2, 3, 3, 3)
_VGG_WIDTHS = (1, 2, 4, 8, 8)


class VGG(nn.Module):
    """A VGG with batch normalisation over pixels in [0, 1].

    Parameters
    ----------
    convolutions : tuple of int
        In each of the five stages, which have 1, 2, 4, 8 and 8 times `width` channels and end in
        2×2 max-pooling.
    width : int
    classes : int
    normalize : Normalize
    channels : int
        Of the image.
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
        for count, factor in zip(convolutions, _VGG_WIDTHS, strict=True):
            for _ in range(count):
                layers += _convolution(entering, factor * width, 1)
                entering = factor * width
            # Rounding up keeps the last pixel of 8×8 images, which have but three halvings.
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(entering, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) in [0, 1]."""
        logits: Tensor = self.head(self.features(self.normalize(x)).mean(dim=(2, 3)))
        return logits


class SmallCNN(nn.Module):
    """Four 3×3 convolutions at strides 1, 2, 2, 2 with batch normalisation: for CPUs.

    Convolutions alone, without shortcuts, are what a processor's matrix units do best.

    Parameters
    ----------
    width : int
        Channels of the first convolution; the others have 2, 4 and 4 times as many.
    classes : int
    normalize : Normalize
    channels : int
        Of the image.
    """

    def __init__(self, width: int, classes: int, normalize: Normalize, channels: int) -> None:
        super().__init__()
        self.normalize = normalize
        layers: list[nn.Module] = []
        entering = channels
        for factor, stride in ((1, 1), (2, 2), (4, 2), (4, 2)):
            layers += _convolution(entering, factor * width, stride)
            entering = factor * width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(entering, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (B, classes) for images of shape (B, C, H, W) in [0, 1]."""
        logits: Tensor = self.head(self.features(self.normalize(x)).mean(dim=(2, 3)))
        return logits


def _convolution(entering: int, leaving: int, stride: int) -> list[nn.Module]:
    """Return a 3×3 convolution with batch normalisation and ReLU."""
    return [
        nn.Conv2d(entering, leaving, 3, stride, 1, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(),
    ]
