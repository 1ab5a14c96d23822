"""WideResNet-40: Zagoruyko & Komodakis 2016, arXiv:1605.07146, with the entry names of the reference code of ATOM.

Checkpoints published with Chen et al. 2021 (arXiv:2006.15207) load without renaming, and so do those of Outlier
Exposure (Hendrycks et al. 2019) and of the energy score (Liu et al. 2020), whose networks are of width 2.
"""

from collections.abc import Iterator
from math import sqrt

from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.networks.network import Network, Representation

LAYERS = 6  # a group; (depth 40 - 4) / (3 groups x 2 convolutions a layer)


class WideResNet(Network):
    """WideResNet of depth 40, for 32x32 images.

    `represent` gives, at width 4, 256 features and the taps (16, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8): the
    stem and the three groups, the last one before the final batch norm and ReLU. At width 2 all but the stem have half
    as many channels.

    Args:
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
        width: how many times as wide as the narrowest.
    """

    def __init__(
        self,
        outputs: int,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        width: int = 4,
    ) -> None:
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Group(16, 16 * width, stride=1)
        self.block2 = Group(16 * width, 32 * width, stride=2)
        self.block3 = Group(32 * width, 64 * width, stride=2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        nn.init.zeros_(self.fc.bias)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The taps of images, float (N, 3, 32, 32) in [0, 1], as far as they are asked for."""
        yield (stem := self.conv1(self.normalise(images)))
        yield (full := self.block1(stem))
        yield (half := self.block2(full))
        yield self.block3(half)

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, 32, 32) in [0, 1]."""
        taps = tuple(self.taps(images))
        features = F.relu(self.bn1(taps[-1])).mean((2, 3))
        return Representation(self.fc(features), features, taps)


class Group(nn.Module):
    """6 layers of one width; the first brings the channels and the stride."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        rest = (Layer(width, width, stride=1) for _ in range(LAYERS - 1))
        self.layer = nn.Sequential(Layer(channels, width, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, channels, H, W) to (N, width, H // stride, W // stride)."""
        out: Tensor = self.layer(x)
        return out


class Layer(nn.Module):
    """Pre-activation residual layer: He et al. 2016, arXiv:1603.05027."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.convShortcut = None if channels == width else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, channels, H, W) to (N, width, H // stride, W // stride)."""
        active = F.relu(self.bn1(x))
        # The shortcut convolution takes the activated input, the identity the raw one.
        shortcut: Tensor = x if self.convShortcut is None else self.convShortcut(active)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return shortcut + residual
