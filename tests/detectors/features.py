"""Detectors fitted on features that are given, without images."""

import torch

from oodbench.networks.network import Network, Representation


def learned(detector, features, labels=None, classes=3, head=None):
    """`detector` fitted on given features of a network whose last layer is `head`."""
    network = FeatureNetwork(head or torch.nn.Linear(features.shape[1], classes))
    detector.attach(network, classes)
    labels = torch.arange(len(features)) % classes if labels is None else labels
    for rows in torch.split(torch.arange(len(features)), 7):
        detector.observe(network.seen(features[rows]), labels[rows])
    detector.settle()
    return detector, network


class FeatureNetwork(Network):
    """A last layer over features that are given."""

    def __init__(self, head):
        super().__init__()
        self.fc = head

    def represent(self, images):
        raise NotImplementedError

    def seen(self, features):
        with torch.no_grad():
            return Representation(self.fc(features), features, ())


def random_features(count=60, dimensions=5, seed=0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)).abs()
