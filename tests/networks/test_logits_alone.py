"""Modules whose logits no linear layer gives: logits and feature maps, and features that say that nobody knows them."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oodbench.basics.errors import OodbenchError
from oodbench.networks import build
from oodbench.networks.bounds import Bounder
from oodbench.networks.gradient import can_learn, has_gradient
from oodbench.networks.identity import describe_parts
from oodbench.networks.linear_bounds import LinearBounder
from oodbench.networks.logits_alone import NoFeaturesError
from oodbench.networks.of_module import ModuleNetwork

IMAGES = torch.rand((4, 3, 8, 8), generator=torch.Generator().manual_seed(0))


class Convolutional(nn.Module):
    """A head that is a 1x1 convolution, behind which maps are averaged."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU())
        self.last = nn.Conv2d(6, 5, 1)

    def forward(self, images):
        return self.last(self.body(images)).mean((2, 3))


class Functional(nn.Module):
    """A head that is `F.linear` with weights of the module's own; `ending` makes of logits what is returned."""

    def __init__(self, ending=lambda features, logits: logits):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2)
        self.weight, self.bias = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(5))
        self.ending = ending

    def forward(self, images):
        features = F.relu(self.conv(images)).mean((2, 3))
        return self.ending(features, F.linear(features, self.weight, self.bias))


def seeded(kind, *given):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind(*given).eval()


@pytest.fixture(params=[Convolutional, Functional])
def module(request):
    return seeded(request.param)


def test_logits_are_the_modules_and_taps_are_found(module):
    network = ModuleNetwork(module, IMAGES)
    found = network.represent(IMAGES)
    assert torch.equal(found.logits, module(IMAGES)) and torch.equal(network(IMAGES), module(IMAGES))
    assert network.tap_names and all(tap.ndim == 4 for tap in found.taps)
    assert network.head_name is None and network.last_layer() is None and network.outputs == 5
    assert has_gradient(network, IMAGES) and can_learn(network, IMAGES)
    assert list(network.state_dict()) == list(module.state_dict())


def test_features_and_head_say_that_nobody_knows_them(module):
    network = ModuleNetwork(module, IMAGES)
    found = network.represent(IMAGES)
    for asked in (
        lambda: found.features,
        lambda: found._replace(logits=found.logits + 1).features,
        lambda: copy.deepcopy(network).represent(IMAGES).features,
        lambda: pickle.loads(pickle.dumps(found)).features,
        lambda: network.head,
    ):
        with pytest.raises(NoFeaturesError, match=f"the logits of {type(module).__name__} are made of.*head="):
            asked()
    logits, _, taps = found
    assert torch.equal(logits, module(IMAGES)) and taps == found.taps


def test_people_are_told_that_it_is_one_and_why():
    said = describe_parts(ModuleNetwork(seeded(Functional), IMAGES))
    assert said == (
        "logits alone: no linear layer gives the outputs of Functional, so nobody knows which features they are made "
        "of, and detectors that need features are refused; head= names the last linear layer (there are none at all); "
        "taps conv"
    )


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (lambda features, logits: logits.softmax(1), "returns probabilities"),
        (lambda features, logits: logits.log_softmax(1), "returns log-probabilities"),
        (lambda features, logits: (logits, features), r"2 tensors that may be logits \(\(4, 5\), \(4, 6\)\)"),
        (lambda features, logits: {"out": logits}, "returns a dict and no logits"),
    ],
)
def test_what_is_not_plainly_logits_stays_refused(ending, told):
    with pytest.raises(OodbenchError, match=told):
        ModuleNetwork(seeded(Functional, ending), IMAGES)


def test_the_outputs_of_a_sigmoid_are_no_logits():
    module = nn.Sequential(nn.Conv2d(3, 5, 8), nn.Flatten(), nn.Sigmoid()).eval()
    with pytest.raises(OodbenchError, match="leave the sigmoid out"):
        ModuleNetwork(module, IMAGES)


def test_a_head_that_is_named_wrongly_stays_an_error(module):
    with pytest.raises(OodbenchError, match="there are no|none|no layer"):
        ModuleNetwork(module, IMAGES, head="fc")


def test_logits_that_stand_in_a_tuple_are_found_again_at_every_pass():
    module = seeded(Functional, lambda features, logits: (None, logits, features[0]))
    plain = seeded(Functional)
    assert torch.equal(ModuleNetwork(module, IMAGES)(IMAGES), plain(IMAGES))


@pytest.mark.parametrize("bounder", [Bounder, LinearBounder])
def test_bounds_hold_the_logits_and_their_differences(module, bounder):
    network = ModuleNetwork(module, IMAGES)
    low, high = (IMAGES - 0.02).clamp(0, 1), (IMAGES + 0.02).clamp(0, 1)
    bounds = bounder(network).bounds(low, high)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        images = low + (high - low) * torch.rand(IMAGES.shape, generator=generator).round()
        logits = module(images).double()
        assert (logits <= bounds.high + 1e-5).all()
        assert (logits[:, :, None] - logits[:, None] <= bounds.differences + 1e-5).all()
    assert not torch.diagonal(bounds.differences, dim1=1, dim2=2).any()


def test_torchvisions_squeezenet_comes_in_by_its_name():
    network = build("torchvision:squeezenet1_1", 5, seed=1, shape=(3, 32, 32))
    network.eval()
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network.represent(images)
        assert torch.equal(found.logits, network.module(network.normalise(images)))
    assert found.logits.shape == (2, 5) and [tap.shape[1] for tap in found.taps] == [64, 128, 256]
    with pytest.raises(NoFeaturesError, match="the logits of SqueezeNet"):
        assert found.features is None
