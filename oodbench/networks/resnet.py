"""ResNet-18 for 32x32 images: He et al. 2016, arXiv:1512.03385, with the entry names of OpenOOD's network.

The stem is one 3x3 convolution without a pool. OpenOOD v1.5 (Zhang et al. 2023, arXiv:2306.09301) trains this on CIFAR;
its checkpoints load without renaming.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.networks.network import Network, Representation


class ResNet(Network):
    """ResNet-18 for 32x32 images.

    `represent` gives 512 features and the taps (64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4): the
    stem and the four groups.

    Args:
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
    """

    def __init__(
        self, outputs: int, mean: tuple[float, ...] = (0.0, 0.0, 0.0), std: tuple[float, ...] = (1.0, 1.0, 1.0)
    ) -> None:
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, stride=1), Block(64, 64, stride=1))
        self.layer2 = nn.Sequential(Block(64, 128, stride=2), Block(128, 128, stride=1))
        self.layer3 = nn.Sequential(Block(128, 256, stride=2), Block(256, 256, stride=1))
        self.layer4 = nn.Sequential(Block(256, 512, stride=2), Block(512, 512, stride=1))
        self.fc = nn.Linear(512, outputs)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The taps of images, float (N, 3, 32, 32) in [0, 1], as far as they are asked for."""
        yield (x := F.relu(self.bn1(self.conv1(self.normalise(images)))))
        for group in (self.layer1, self.layer2, self.layer3, self.layer4):
            yield (x := group(x))

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, 32, 32) in [0, 1]."""
        taps = tuple(self.taps(images))
        features = taps[-1].mean((2, 3))
        return Representation(self.fc(features), features, taps)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if (stride, channels) != (1, width):
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, channels, H, W) to (N, width, H // stride, W // stride)."""
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inner + self.shortcut(x))
