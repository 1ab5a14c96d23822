"""Modules of people's own as networks: what is found in them, and what they are refused for."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oodbench.basics.errors import OodbenchError
from oodbench.networks.gradient import has_gradient
from oodbench.networks.of_module import ModuleNetwork, wrap_module
from oodbench.networks.wrapping import Wrapping

IMAGES = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """A convolution, its mean and a linear layer; `ending` makes of features and logits what is returned."""

    def __init__(self, ending=lambda features, logits: logits):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.conv = nn.Conv2d(3, 6, 3, stride=2)
            self.fc = nn.Linear(6, 5)
            self.aux = nn.Linear(6, 2)
        self.ending = ending

    def forward(self, images):
        features = F.relu(self.conv(images)).mean((2, 3))
        return self.ending(features, self.fc(features))


def own(**how):
    return Own(**how).eval()


@pytest.mark.parametrize(
    "ending",
    [
        lambda features, logits: logits,
        lambda features, logits: (logits, features),
        lambda features, logits: SimpleNamespace(logits=logits),
        lambda features, logits: {"loss": None, "logits": logits},
    ],
)
def test_logits_and_features_are_found_in_whatever_is_returned(ending):
    module = own(ending=ending)
    network = ModuleNetwork(module, IMAGES)
    found = network.represent(IMAGES)
    features = F.relu(module.conv(IMAGES)).mean((2, 3))
    assert network.head is module.fc
    assert torch.equal(found.features, features)
    assert torch.equal(found.logits, module.fc(features))
    assert torch.equal(network(IMAGES), found.logits)
    assert network.tap_names == ("conv",)
    assert torch.equal(found.taps[0], module.conv(IMAGES))


def test_normalisation_is_the_first_thing_and_gradients_are_of_pixels():
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.5, 1.0)
    module = own()
    network = ModuleNetwork(module, IMAGES, mean=mean, std=std)
    by_hand = (IMAGES - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    assert torch.allclose(network(IMAGES), module(by_hand))
    assert has_gradient(network, IMAGES)


def test_taps_are_the_last_map_of_each_size_or_what_is_named():
    def stage(channels, stride):
        return nn.Sequential(nn.Conv2d(channels, 4, 3, stride, 1), nn.ReLU(inplace=True))

    module = nn.Sequential(
        stage(3, 1), stage(4, 2), stage(4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    network = ModuleNetwork(module.eval(), IMAGES)
    assert network.tap_names == ("0.1", "2.1")
    assert [tap.shape[2] for tap in network.represent(IMAGES).taps] == [8, 4]
    assert ModuleNetwork(module, IMAGES, taps=["1"]).represent(IMAGES).taps[0].shape == (4, 4, 4, 4)
    with pytest.raises(OodbenchError, match="did you mean '2.1'"):
        ModuleNetwork(module, IMAGES, taps=["2.11"])
    with pytest.raises(OodbenchError, match="'4' of Sequential gives no feature map"):
        ModuleNetwork(module, IMAGES, taps=["4"])


class Twice(Own):
    """Two heads."""

    def forward(self, images):
        features = F.relu(self.conv(images)).mean((2, 3))
        return self.fc(features), self.aux(features)


def test_of_two_heads_one_is_named():
    module = Twice().eval()
    with pytest.raises(OodbenchError, match=r"2 heads.*'fc' \(5 outputs\), 'aux' \(2 outputs\)"):
        ModuleNetwork(module, IMAGES)
    assert ModuleNetwork(module, IMAGES, head="aux").represent(IMAGES).logits.shape == (4, 2)
    with pytest.raises(OodbenchError, match="did you mean 'aux'"):
        ModuleNetwork(module, IMAGES, head="auxx")
    with pytest.raises(OodbenchError, match="'conv' is not a linear layer"):
        ModuleNetwork(module, IMAGES, head="conv")


class InPlace(Own):
    """Writes into the images that it is given."""

    def forward(self, images):
        images.mul_(2)
        return super().forward(images)


class Neighbours(Own):
    """Takes the batch's mean away from each image."""

    def forward(self, images):
        return super().forward(images - images.mean(0))


class Draws(Own):
    """Adds noise."""

    def forward(self, images):
        return super().forward(images + torch.rand_like(images))


def test_images_stay_as_they_were_where_a_module_writes_into_its_input():
    before = IMAGES.clone()
    ModuleNetwork(InPlace().eval(), IMAGES).represent(IMAGES)
    assert torch.equal(IMAGES, before)


def broken():
    module = own()
    with torch.no_grad():
        module.fc.bias[0] = torch.nan
    return module


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Own(), "stands in train mode .* call .eval"),
        (own(ending=lambda features, logits: logits.softmax(1)), "returns probabilities.*leave the softmax out.*'fc'"),
        (
            own(ending=lambda features, logits: logits.log_softmax(1)),
            "returns log-probabilities.*leave the log-softmax",
        ),
        (own(ending=lambda features, logits: "cat"), "returns a str and no logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(7, 5)).eval(), "does not take images.*RuntimeError"),
        (broken(), "NaN or infinite"),
        (Neighbours().eval(), "for an image alone than in a batch"),
        (Draws().eval(), "when it sees the same images again"),
    ],
)
def test_what_cannot_be_used_is_refused_and_says_why(module, told):
    with pytest.raises(OodbenchError, match=told):
        wrap_module(module, IMAGES, Wrapping())


def test_a_named_head_gives_the_logits_of_a_module_that_returns_probabilities():
    module = own(ending=lambda features, logits: logits.softmax(1))
    logits = ModuleNetwork(module, IMAGES, head="fc").represent(IMAGES).logits
    assert torch.allclose(logits.softmax(1), module(IMAGES))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "divide each by 255"),
        ({"mean": (0.5,)}, "one for each of the 3 channels"),
        ({"mean": (0.5,) * 3, "std": (0.0,) * 3}, "units"),
        ({"mean": "imagenet"}, "mean is 'imagenet'"),
        ({"std": (0.5,) * 3}, "beside a std"),
    ],
)
def test_a_normalisation_that_is_none_is_refused(how, told):
    with pytest.raises(OodbenchError, match=told):
        ModuleNetwork(own(), IMAGES, **how)
