"""DenseNet-BC(100, 12): Huang et al. 2017, arXiv:1608.06993, with the entry names of the reference code of ATOM.

Checkpoints published with Chen et al. 2021 (arXiv:2006.15207) load without renaming.
"""

from collections.abc import Iterator
from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.networks.network import Network, Representation

LAYERS = 16  # a block; depth 100 = 3 blocks x 16 layers x 2 convolutions + stem + 2 transitions + linear
GROWTH = 12


class DenseNet(Network):
    """DenseNet-BC of depth 100 and growth 12, for 32x32 images.

    `represent` gives 342 features and the taps (24, 32, 32), (108, 16, 16), (150, 8, 8), (342, 8, 8): stem, both
    transitions, and what the average pool sees.

    Args:
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
        init: "published" draws convolutions from N(0, 2 / 16) as the reference code of Chen et al. 2021 does, where
            16 is the number of layers a block; "he" from N(0, 2 / fan_out), He et al. 2015, arXiv:1502.01852.
    """

    def __init__(
        self,
        outputs: int,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        init: Literal["published", "he"] = "published",
    ) -> None:
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(3, 2 * GROWTH, 3, padding=1, bias=False)
        self.block1 = Block(24)
        self.trans1 = Transition(216)
        self.block2 = Block(108)
        self.trans2 = Transition(300)
        self.block3 = Block(150)
        self.bn1 = nn.BatchNorm2d(342)
        self.fc = nn.Linear(342, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                fan = {"published": LAYERS, "he": fan_out}[init]
                nn.init.normal_(module.weight, std=sqrt(2 / fan))
        nn.init.zeros_(self.fc.bias)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The taps of images, float (N, 3, 32, 32) in [0, 1], as far as they are asked for."""
        yield (stem := self.conv1(self.normalise(images)))
        yield (half := self.trans1(self.block1(stem)))
        yield (quarter := self.trans2(self.block2(half)))
        yield F.relu(self.bn1(self.block3(quarter)))

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, 32, 32) in [0, 1]."""
        taps = tuple(self.taps(images))
        features = taps[-1].mean((2, 3))
        return Representation(self.fc(features), features, taps)


class Block(nn.Module):
    """16 layers, each of which sees what all layers before it made: (N, C, H, W) to (N, C + 192, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(*(Layer(channels + index * GROWTH) for index in range(LAYERS)))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) to (N, C + 192, H, W)."""
        out: Tensor = self.layer(x)
        return out


class Layer(nn.Module):
    """Bottleneck layer: appends 12 channels to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, 4 * GROWTH, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * GROWTH)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) to (N, C + 12, H, W)."""
        squeezed = self.conv1(F.relu(self.bn1(x)))
        return torch.cat((x, self.conv2(F.relu(self.bn2(squeezed)))), 1)


class Transition(nn.Module):
    """Halves the number of channels, the height and the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) to (N, C // 2, H // 2, W // 2)."""
        return F.avg_pool2d(self.conv1(F.relu(self.bn1(x))), 2)
