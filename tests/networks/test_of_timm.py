"""Networks of timm: taken apart without changing what they say."""

import pytest
import safetensors.torch
import timm
import torch

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks import checkpoints

FAMILIES = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_mambaout", "test_byobnet"]
"""Tiny members of their families, for 160 pixels."""


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_say_what_the_whole_says(name):
    mean, std = networks.normalisation(name)
    network = networks.build(name, 7, mean, std, seed=1).eval()
    side = networks.preprocessing(name).side
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0))
    normalised = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        found, whole = network.represent(images), network.body(normalised)
    assert torch.allclose(found.logits, whole, atol=1e-5)
    assert torch.allclose(network.head(found.features), whole, atol=1e-5)
    assert len(found.taps) > 1
    assert all(tap.shape[0] == 2 and tap.ndim == 4 for tap in found.taps)


def test_weights_carry_the_names_that_timm_gives_them(tmp_path):
    theirs = timm.create_model("test_resnet", num_classes=5)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours = networks.build("test_resnet", 5, seed=3)
    checkpoints.load(ours, tmp_path / "theirs.safetensors")
    images = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(images))
    checkpoints.save(ours, tmp_path / "ours.safetensors", {})
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "ours.safetensors"))


def test_another_number_of_outputs_is_said_to_be_that(tmp_path):
    checkpoints.save(networks.build("test_resnet", 5), tmp_path / "five.safetensors", {})
    with pytest.raises(OodbenchError, match="has 5 outputs, the network needs 6"):
        checkpoints.load(networks.build("test_resnet", 6), tmp_path / "five.safetensors")


def test_normalisation_and_preprocessing_go_by_the_tag_of_the_weights():
    plain, tagged = networks.preprocessing("resnet50"), networks.preprocessing("resnet50.tv_in1k")
    assert (plain.crop, plain.interpolation) == (0.95, "bicubic")
    assert (tagged.side, tagged.crop, tagged.interpolation, tagged.mode) == (224, 0.875, "bilinear", "center")
    assert networks.normalisation("resnet50.tv_in1k") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_seeds_decide_the_weights_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    one, same, other = (networks.build("test_resnet", 3, seed=seed) for seed in (1, 1, 2))
    assert checkpoints.weights_digest(one) == checkpoints.weights_digest(same) != checkpoints.weights_digest(other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet51", r"unknown network 'resnet51': did you mean 'resnet51q'\?.*every network of timm"),
        ("resnet50.nobodys", "unknown network 'resnet50.nobodys'"),
        ("densenet-bc-100-11", "did you mean 'densenet-bc-100-12'"),
    ],
)
def test_unknown_networks_are_refused_with_the_nearest_one(name, said):
    with pytest.raises(OodbenchError, match=said):
        networks.build(name, 10)


def test_a_network_with_two_heads_is_refused():
    with pytest.raises(OodbenchError, match="deit_tiny_distilled_patch16_224 cannot be used"):
        networks.build("deit_tiny_distilled_patch16_224", 10)


def test_gradients_reach_the_images():
    network = networks.build("test_vit", 4, seed=0).eval()
    images = torch.rand(1, 3, 160, 160, requires_grad=True)
    network(images).sum().backward()
    assert images.grad.abs().sum() > 0
