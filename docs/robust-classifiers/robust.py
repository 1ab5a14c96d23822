"""The architectures of ten CIFAR-10 networks that come with alpha-beta-CROWN, a verifier of neural networks.

Each function builds one, as a suite's `[network] name = "robust.py:base"` names it. The weights are files of
https://github.com/Verified-Intelligence/alpha-beta-CROWN (BSD-3), in `complete_verifier/models`.
"""

from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10


def base() -> nn.Module:
    """`cifar_base`: two convolutions of 8 and 16 channels."""
    return _convolutions((8, 4, 2, 1), (16, 4, 2, 1), features=1024)


def wide() -> nn.Module:
    """`cifar_wide` and the four `cifar_cnn_a`: two convolutions of 16 and 32 channels."""
    return _convolutions((16, 4, 2, 1), (32, 4, 2, 1), features=2048)


def small() -> nn.Module:
    """`cifar_conv_small_pgd`: as `wide`, without padding."""
    return _convolutions((16, 4, 2, 0), (32, 4, 2, 0), features=1152)


def deep() -> nn.Module:
    """`cifar_deep`: four convolutions of 8 channels."""
    return _convolutions((8, 4, 2, 1), (8, 3, 1, 1), (8, 3, 1, 1), (8, 4, 2, 1), features=512)


def resnet2b() -> nn.Module:
    """`resnet2b`: one group of two blocks, no batch norm."""
    return _ResNet(8, 16, groups=1, features=1024)


def resnet4b() -> nn.Module:
    """`resnet4b`: two groups of two blocks, no batch norm."""
    return _ResNet(16, 32, groups=2, features=512)


def _convolutions(*layers: tuple[int, int, int, int], features: int) -> nn.Sequential:
    """Each layer is (channels, kernel, stride, padding) of a convolution; then two linear ones."""
    found: list[nn.Module] = []
    before = 3
    for channels, kernel, stride, padding in layers:
        found += [nn.Conv2d(before, channels, kernel, stride, padding), nn.ReLU()]
        before = channels
    return nn.Sequential(*found, nn.Flatten(), nn.Linear(features, 100), nn.ReLU(), nn.Linear(100, CLASSES))


class _Block(nn.Module):
    def __init__(self, before: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, planes, 3, stride, 1)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1)
        self.shortcut = nn.Sequential(nn.Conv2d(before, planes, 1, stride)) if stride > 1 else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(inner + self.shortcut(x))


class _ResNet(nn.Module):
    def __init__(self, first: int, planes: int, *, groups: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, first, 3, 2, 1)
        self.layer1 = nn.Sequential(_Block(first, planes, 2), _Block(planes, planes, 1))
        self.layer2 = (
            nn.Sequential(_Block(planes, planes, 2), _Block(planes, planes, 1)) if groups > 1 else nn.Identity()
        )
        self.linear1, self.linear2 = nn.Linear(features, 100), nn.Linear(100, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(functional.relu(self.conv1(x))))
        logits: Tensor = self.linear2(functional.relu(self.linear1(x.flatten(1))))
        return logits
