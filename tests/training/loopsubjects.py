"""What the tests of the training loop train, on what, and an objective that writes down what it sees."""

from dataclasses import dataclass

import torch

from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch, Objective
from oodbench.suite import Recipe
from oodbench.training.loop import TrainingData


class Linear(Network):
    """One linear layer behind a batch norm, whose running statistics are state too."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.bn = torch.nn.BatchNorm2d(3)
        self.fc = torch.nn.Linear(48, outputs)
        with torch.no_grad():
            self.fc.weight.copy_(torch.linspace(-1, 1, self.fc.weight.numel()).view_as(self.fc.weight))
            self.fc.bias.zero_()

    def represent(self, images):
        features = self.bn(images).flatten(1)
        return Representation(self.fc(features), features, ())


def data(count=10, outliers=40):
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, 3, 4, 4), generator=generator, dtype=torch.uint8)
    pool = torch.randint(0, 256, (outliers, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return TrainingData(IDImages(images, torch.arange(count) % 2), OutlierPool(pool, 0, ("crop", "flip")))


RECIPE = Recipe(epochs=4, drops=(2, 3), learning_rate=0.1, augment=("crop",))


def weights(network):
    return torch.cat([value.flatten().double() for value in network.state_dict().values()])


@dataclass(frozen=True)
class Spy(Objective):
    """Cross-entropy that writes down what it sees."""

    id_batch: int = 4
    outlier_batch: int = 3

    def loss(self, network, batch, generator):
        seen.append((network.training, batch))
        return super().loss(network, batch, generator)


seen: list[tuple[bool, Batch]] = []
