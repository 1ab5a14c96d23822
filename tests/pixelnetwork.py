"""A network whose features are what it is shown, so that scores of them can be computed by hand."""

from torch import nn

from oodbench.networks.network import Network, Representation


class Pixels(Network):
    """Features are the values of an image, 3 by 8 by 8 of them if nothing else is said; two classes."""

    def __init__(self, values: int = 192) -> None:
        super().__init__()
        self.fc = nn.Linear(values, 2)

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())
