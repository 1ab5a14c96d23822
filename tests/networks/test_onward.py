"""Going on from a changed feature map: against networks that were cut there by hand, and where it must not be tried."""

import pytest
import torch
from torch.nn import functional as F

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks.compute import choose, prepare
from oodbench.networks.network import Network, Representation
from oodbench.networks.onward import changed, places_of_taps

SIDE = 32


def images(count=3, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["densenet-bc-100-12", "wideresnet-40-2", "preactresnet-8-32", "small-cnn"])
def test_networks_go_on_from_each_of_their_taps(name):
    network = networks.build(name, 5, seed=1).eval()
    some = images(2, 32 if name == "small-cnn" else 8)
    with torch.no_grad():
        plain = network.represent(some)
        places = places_of_taps(network, some[:1], 9, "somebody")
        assert len(places) == len(plain.taps)
        assert list(places) == sorted(places)
        for number, place in enumerate(places):
            same = changed(network, some, place, lambda tap: tap.clone())
            assert torch.equal(same.logits, plain.logits)
            other = changed(network, some, place, lambda tap: 0.5 * tap)
            assert torch.equal(other.taps[number], 0.5 * plain.taps[number])
            assert all(torch.equal(*pair) for pair in zip(other.taps[:number], plain.taps[:number], strict=True))
            assert not torch.equal(other.logits, plain.logits)


def test_a_resnet_goes_on_as_when_its_parts_are_called_one_by_one():
    network = networks.build("resnet18-32x32", 5, seed=1).eval()
    with torch.no_grad():
        some = images(2, 16)
        (place, _) = places_of_taps(network, some[:1], 2, "somebody")
        tap = network.represent(some).taps[3]
        expected = network.fc(network.layer4(tap.flip(1)).mean((2, 3)))
        assert torch.equal(changed(network, some, place, lambda tap: tap.flip(1)).logits, expected)


def test_the_gradient_goes_through_the_change():
    network = networks.build("small-cnn", 5, seed=1).eval()
    some = images().requires_grad_()
    place = places_of_taps(network, images(1), 9, "somebody")[1]
    (gradient,) = torch.autograd.grad(changed(network, some, place, lambda tap: 3 * tap).logits.sum(), some)
    (plain,) = torch.autograd.grad(network(some).sum(), some)
    assert gradient.isfinite().all()
    assert not torch.equal(gradient, plain)
    (nothing,) = torch.autograd.grad(
        changed(network, some, place, torch.Tensor.detach).logits.sum() + 0 * some.sum(), some
    )
    assert not nothing.any()


def test_a_compiled_network_goes_on_as_it_is_written():
    network = networks.build("small-cnn", 5, seed=1).eval()
    places = places_of_taps(network, images(1), 9, "somebody")
    compiled = prepare(network, choose("float32", False, False, torch.device("cpu")))
    compiled.represent = None  # whatever stands in its place is not called
    assert places_of_taps(compiled, images(1), 9, "somebody") == places


def test_a_network_of_timm_goes_on_from_its_blocks():
    network = networks.build("resnet18", 5, seed=1).eval()
    with torch.no_grad():
        places = places_of_taps(network, images(1, 64), 2, "somebody")
        tap = network.represent(images(2, 64)).taps[-2]
        body = network.body
        expected = body.get_classifier()(body.forward_head(body.layer4(0.5 * tap), pre_logits=True))
        assert torch.equal(changed(network, images(2, 64), places[0], lambda tap: 0.5 * tap).logits, expected)


class Aside(Network):
    """One tap is a copy that leads nowhere; another comes out of no operation of torch."""

    def __init__(self, tap):
        super().__init__()
        self.tap = tap

    def represent(self, images):
        hidden = F.relu(images)
        features = hidden.mean((2, 3))
        return Representation(features, features, (self.tap(hidden),))


OUTSIDE = torch.ones(1, 3, SIDE, SIDE)


@pytest.mark.parametrize("tap", [torch.Tensor.clone, lambda hidden: OUTSIDE])
def test_a_tap_that_leads_nowhere_is_refused_by_name(tap):
    with pytest.raises(OodbenchError, match="somebody changes.*Aside does not go on from its feature map 0"):
        places_of_taps(Aside(tap), images(1), 9, "somebody")


class Fickle(Network):
    """Runs fewer operations for some images than for others."""

    def represent(self, images):
        steps = 3 if images.mean() > 0.5 else 1
        hidden = images
        for _ in range(steps):
            hidden = F.relu(hidden)
        return Representation(hidden.mean((2, 3)), hidden.mean((2, 3)), (hidden,))


def test_other_operations_for_other_images_are_noticed():
    bright, dark = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    (place,) = places_of_taps(Fickle(), bright, 1, "somebody")
    with pytest.raises(OodbenchError, match="Fickle runs other operations"):
        for number in range(place, place + 20):
            changed(Fickle(), dark, number, torch.Tensor.clone)
