"""What every registered network must keep to, and networks of one's own.

Names of the latter come from OODBENCH_NETWORKS, separated by commas: `OODBENCH_NETWORKS=birds.py:build make test`.
"""

import os
from functools import cache

import pytest
import torch
from torch import nn

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks.logits_alone import NoFeaturesError
from oodbench.networks.network import Network

OUTPUTS = 7
NAMES = [*networks.names(), *filter(None, os.environ.get("OODBENCH_NETWORKS", "").split(","))]
MEAN, STD = (0.4914, 0.4824, 0.4467), (0.2471, 0.2435, 0.2616)


def shape_of(name):
    prepared = networks.preprocessing(name)
    side = prepared.side if prepared else networks.USUAL_SHAPE[1]
    return 3, side, side


def images_of(name, count=3):
    return torch.rand((count, *shape_of(name)), generator=torch.Generator().manual_seed(1))


def built(name, outputs=OUTPUTS, seed=0, **how):
    return networks.build(name, outputs, seed=seed, shape=shape_of(name), **how)


@cache
def settled(name):
    """A network whose batch norm has seen a batch: without, DenseNet's published start lets logits reach 1e29."""
    network = built(name, mean=MEAN, std=STD)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None  # running statistics = those of the batch
    with torch.no_grad():
        network(images_of(name, 16))
    return network.eval()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def network(name):
    return settled(name)


def test_it_is_a_network_in_train_mode_with_a_line_about_it(name):
    network = built(name)
    assert isinstance(network, Network)
    assert network.training
    if name in networks.names():
        assert networks.describe(name)
        assert "\n" not in networks.describe(name)


def test_it_gives_as_many_finite_logits_as_are_asked_for_a_reject_class_included(name):
    for outputs in (OUTPUTS, OUTPUTS + 1):
        assert built(name, outputs).eval()(images_of(name)).shape == (3, outputs)
    assert settled(name)(images_of(name)).isfinite().all()


def test_features_are_vectors_and_taps_are_maps_of_each_image(name, network):
    _, features, taps = network.represent(images_of(name))  # by place: of a network of logits alone they are (N, 0)
    assert features.ndim == 2
    assert all(tap.ndim == 4 and len(tap) == 3 for tap in taps)


def test_features_times_head_are_the_logits_where_there_is_a_head(name, network):
    found = network.represent(images_of(name))
    try:
        head = network.head
    except NoFeaturesError:
        assert network.head_name is None
    except OodbenchError as refusal:
        assert "does not end in one linear layer" in str(refusal)
    else:
        torch.testing.assert_close(head(found.features), found.logits, rtol=1e-5, atol=1e-5)


def test_evaluation_does_not_depend_on_call_or_neighbours(name, network):
    images = images_of(name)
    with torch.inference_mode():
        together = network(images)
        assert torch.equal(network(images), together)
        torch.testing.assert_close(network(images[1:2]), together[1:2], rtol=1e-4, atol=1e-4)


def test_images_stay_as_they_were(name, network):
    images = images_of(name)
    network(images)
    assert torch.equal(images, images_of(name))


def test_gradient_reaches_every_image_and_some_weight(name, network):
    images = images_of(name).requires_grad_()
    logits = network(images)[:, 0].sum()
    gradient, *of_weights = torch.autograd.grad(logits, [images, *network.parameters()], allow_unused=True)
    assert gradient.isfinite().all()
    assert (gradient.flatten(2).abs().sum(2) > 0).all()
    assert any(one is not None for one in of_weights)


def test_normalisation_is_the_first_step_and_not_in_checkpoints(name, network):
    plain = built(name, mean=(0.0,) * 3, std=(1.0,) * 3).eval()
    plain.load_state_dict(network.state_dict())
    images = images_of(name)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    with torch.inference_mode():
        torch.testing.assert_close(network(images), plain((images - mean) / std), rtol=1e-4, atol=1e-4)


def test_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone(name):
    before = torch.get_rng_state()
    first = built(name, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, other = built(name, seed=3), built(name, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_its_weights_go_into_another_one_by_their_names(name, network):
    other = built(name, mean=MEAN, std=STD, seed=5).eval()
    assert list(other.state_dict()) == list(network.state_dict())
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(images_of(name)), network(images_of(name)))
