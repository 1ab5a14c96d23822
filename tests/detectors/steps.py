"""One step's data and a network of one linear layer, small enough to work a loss out by hand."""

import torch

from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch


class Linear(Network):
    """One linear layer over 2x2 images."""

    def __init__(self, outputs):
        super().__init__()
        self.fc = torch.nn.Linear(12, outputs)
        generator = torch.Generator().manual_seed(0)
        self.fc.weight.data = torch.randn(outputs, 12, generator=generator)
        self.fc.bias.data.zero_()

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())


def random_images(count, seed=0):
    return torch.randint(0, 256, (count, 3, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def batch(outliers=4):
    return Batch(random_images(3) / 255, torch.tensor([0, 1, 2]), random_images(outliers, 1) / 255)
