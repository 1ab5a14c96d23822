"""Operations of a network, counted by hand."""

import sys

import torch
from torch import nn

from oodbench import networks
from oodbench.networks.cost import operations
from oodbench.networks.network import Network, Representation


class Narrow(Network):
    """A 3 x 3 convolution of 3 channels to 4, and a linear layer to 2."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def represent(self, images):
        features = self.conv(images).mean((2, 3))
        return Representation(self.fc(features), features, ())


def test_operations_are_two_for_each_weight_that_is_used():
    # 8 x 8 outputs in 4 channels, each a sum over 3 x 3 x 3; then 4 x 2.
    assert operations(Narrow(), (3, 8, 8)) == 2 * (8 * 8 * 4 * 27 + 4 * 2)


def test_counting_goes_without_the_compiler_which_takes_longer_to_import_than_a_small_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # whoever imports it meets an error
    assert operations(Narrow(), (3, 8, 8)) == 2 * (8 * 8 * 4 * 27 + 4 * 2)


def test_in_inference_mode_composite_operations_count_by_their_parts():
    class Inferring(Narrow):
        def represent(self, images):
            with torch.inference_mode():
                return super().represent(images)

    assert operations(Inferring(), (3, 8, 8)) == operations(Narrow(), (3, 8, 8))


def test_what_was_counted_until_a_network_gave_up_counts():
    network = networks.build("small-cnn", 10).eval()  # of 16 x 16 images its last layer makes nothing
    assert 0 < operations(network, (3, 16, 16)) < operations(network, (3, 32, 32)) / 2
