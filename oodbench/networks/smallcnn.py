"""SmallCNN: small enough to train on a CPU, for digits and for trying things out."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.networks.network import Network, Representation


class SmallCNN(Network):
    """Three convolutions of stride 2 and a linear layer, for 32x32 images.

    Batch norm behind each convolution lets it train at the learning rates of the large networks; without pooling the
    linear layer knows where things are. Weights start as torch's defaults. `represent` gives 1024 features and the
    taps (32, 16, 16), (64, 8, 8), (64, 4, 4): the convolutions after batch norm and ReLU.

    Args:
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
    """

    def __init__(
        self, outputs: int, mean: tuple[float, ...] = (0.0, 0.0, 0.0), std: tuple[float, ...] = (1.0, 1.0, 1.0)
    ) -> None:
        super().__init__(mean, std)
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(64)
        self.fc = nn.Linear(64 * 4 * 4, outputs)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The taps of images, float (N, 3, 32, 32) in [0, 1], as far as they are asked for."""
        yield (first := F.relu(self.bn1(self.conv1(self.normalise(images)))))
        yield (second := F.relu(self.bn2(self.conv2(first))))
        yield F.relu(self.bn3(self.conv3(second)))

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, 32, 32) in [0, 1]."""
        taps = tuple(self.taps(images))
        features = taps[-1].flatten(1)
        return Representation(self.fc(features), features, taps)
