"""Pre-activation residual networks (He et al., "Identity Mappings in Deep Residual Networks").

The variant of the adversarial training literature: a 3×3 stem without pooling, stages of basic
blocks at strides 1, 2, 2, …, a shortcut convolution taken after the first activation, batch
normalisation and ReLU before the pooled linear classifier.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from datacurate.nets.normalization import Normalize


class PreActBlock(nn.Module):
    """Two 3×3 convolutions, each after batch normalisation and ReLU, around a shortcut."""

    def __init__(self, entering: int, leaving: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(entering)
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or entering != leaving:
            self.shortcut = nn.Conv2d(entering, leaving, 1, bias=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (B, leaving, H/stride, W/stride)."""
        out = functional.relu(self.norm1(x))
        # A strided slice before the 1×1 convolution gives the same bits as a strided convolution.
        # With fewer than 16 channels and several threads, the backward pass of the strided
        # kernel corrupts the heap (torch 2.15 on x86).
        thinned = out[:, :, :: self.stride, :: self.stride]
        shortcut = x if self.shortcut is None else self.shortcut(thinned)
        out = self.conv1(out)
        out = self.conv2(functional.relu(self.norm2(out)))
        total: Tensor = out + shortcut
        return total


class PreActResNet(nn.Module):
    """A pre-activation ResNet over pixels in [0, 1].

    Parameters
    ----------
    blocks : tuple of int
        Blocks in each stage.
    width : int
        Channels of the stem and, times `widening`, of the first stage; each later stage doubles
        them.
    classes : int
    normalize : Normalize
    channels : int
        Channels of the image.
    widening : int
        1, or the k of a wide ResNet WRN-d-k (Zagoruyko and Komodakis,
        https://arxiv.org/abs/1605.07146): a stem of 16 channels, three stages of (d − 4)/6 blocks
        with 16k, 32k and 64k channels, no dropout.
    patch : int
        1 means a 3×3 stem with stride 1. Otherwise it is the stride of the stem, whose kernel is
        twice as wide. Every stage has 1/patch² of the pixels, so the net costs about 1/patch².
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        classes: int,
        normalize: Normalize,
        channels: int,
        widening: int = 1,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        kernel, padding = (3, 1) if patch == 1 else (2 * patch, patch // 2)
        self.stem = nn.Conv2d(channels, width, kernel, patch, padding, bias=False)
        stages: list[nn.Module] = []
        entering = width
        for stage, count in enumerate(blocks):
            leaving = width * widening * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(PreActBlock(entering, leaving, stride))
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
