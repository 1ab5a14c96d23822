"""Small pre-activation residual networks for 32x32 images: He et al. 2016, arXiv:1603.05027.

Made for training and attacking on a few CPU cores. The first convolution halves the image, so no block works at full
size, and images and weights lie channels last, in which CPUs convolve up to twice as fast.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.networks.network import Network, Representation


class PreActResNet(Network):
    """Three groups of pre-activation blocks behind a convolution of stride 2, for 32x32 images.

    Each group has twice the channels of the one before it, and all but the first halve the image. With width 32 and one
    block a group, `represent` gives 128 features and the taps (32, 16, 16), (32, 16, 16), (64, 8, 8), (128, 4, 4): the
    first convolution, and the groups, the last of them after batch norm and ReLU, as the average pool sees it.

    Args:
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
        width: channels of the first convolution and of the first group.
        blocks: in each group.
    """

    def __init__(
        self,
        outputs: int,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        width: int = 32,
        blocks: int = 1,
    ) -> None:
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.group1 = _group(width, width, blocks, stride=1)
        self.group2 = _group(width, 2 * width, blocks, stride=2)
        self.group3 = _group(2 * width, 4 * width, blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(4 * width)
        self.fc = nn.Linear(4 * width, outputs)
        self.to(memory_format=torch.channels_last)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The taps of images, float (N, 3, 32, 32) in [0, 1], as far as they are asked for."""
        yield (x := self.conv1(self.normalise(images).contiguous(memory_format=torch.channels_last)))
        yield (x := self.group1(x))
        yield (x := self.group2(x))
        yield F.relu(self.bn1(self.group3(x)))

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, 32, 32) in [0, 1]."""
        taps = tuple(self.taps(images))
        features = taps[-1].mean((2, 3))
        return Representation(self.fc(features), features, taps)


def _group(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(channels, width, stride)
    return nn.Sequential(first, *(Block(width, width, stride=1) for _ in range(blocks - 1)))


class Block(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, twice, beside a shortcut.

    Where the shape changes, the shortcut is a 1x1 convolution that sees what the first convolution sees.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        same = (stride, channels) == (1, width)
        self.shortcut = None if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, channels, H, W) to (N, width, H // stride, W // stride)."""
        active = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        inner: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return inner + shortcut
