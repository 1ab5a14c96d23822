"""Networks against the golden vectors "models" and "forward".

Both files were produced by executing the reference code of Chen et al. 2021 (ATOM); each says in "about" how.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks.densenet import DenseNet
from oodbench.networks.network import Network

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = json.loads((GOLDEN / "models.json").read_text())["models"]
FORWARD = json.loads((GOLDEN / "forward.json").read_text())["cases"]

OURS = {"densenet_bc_100_12": "densenet-bc-100-12", "wideresnet_40_4": "wideresnet-40-4"}
NORMALISATION: dict[str, Any] = {
    "cifar": {"mean": (125.3 / 255, 123.0 / 255, 113.9 / 255), "std": (63.0 / 255, 62.1 / 255, 66.7 / 255)},
    "none": {},
}


@pytest.fixture
def double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def convolutions(network: Network) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("golden", MODELS)
def test_entries_are_those_of_the_reference_in_its_order(golden: str) -> None:
    expected = [(name, tuple(shape), dtype) for name, shape, dtype in MODELS[golden]["state_dict"]]
    outputs = next(shape[0] for name, shape, _ in expected if name == "fc.bias")

    entries = networks.build(OURS[golden], outputs).state_dict()

    assert [(name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in entries.items()] == expected


@pytest.mark.parametrize("golden", MODELS)
def test_numbers_of_parameters(golden: str) -> None:
    expected = MODELS[golden]["params_by_num_outputs"]
    built = {count: networks.build(OURS[golden], int(count)) for count in expected}
    assert {count: sum(p.numel() for p in network.parameters()) for count, network in built.items()} == expected


@pytest.mark.parametrize("golden", MODELS)
def test_shapes_of_taps(golden: str) -> None:
    taps = networks.build(OURS[golden], 10).eval().represent(torch.zeros(2, 3, 32, 32)).taps
    assert [list(tap.shape) for tap in taps] == [[2, *shape] for shape in MODELS[golden]["feature_list_shapes"]]


def set_golden_weights(network: Network) -> None:
    """The weights that forward.json describes in "about"."""
    normalised = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for index, (name, tensor) in enumerate(network.state_dict().items()):
        module, _, kind = name.rpartition(".")
        u = torch.sin(0.37 * (index + 1) + 0.731 * torch.arange(tensor.numel())).view(tensor.shape)
        if kind == "num_batches_tracked":
            value = torch.zeros_like(tensor)
        elif tensor.dim() > 1:
            value = u * (2 / tensor[0].numel()) ** 0.5
        elif kind == "running_var":
            value = 1 + 0.5 * u**2
        elif kind == "weight" and module in normalised:
            value = 1 + 0.1 * u
        else:
            value = 0.1 * u
        tensor.copy_(value)


def golden_images() -> Tensor:
    n, c, h, w = torch.meshgrid(*(torch.arange(size) for size in (2, 3, 32, 32)), indexing="ij")
    return (7 * n + 5 * c + 3 * h + 11 * w + h * w).remainder(256).double() / 255


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("case", FORWARD, ids=lambda case: f"{case['model']}-{case['normalizer']}")
def test_forward_pass_is_that_of_the_reference(case: dict[str, Any]) -> None:
    network = networks.build(OURS[case["model"]], case["num_outputs"], **NORMALISATION[case["normalizer"]]).eval()
    set_golden_weights(network)

    with torch.inference_mode():
        logits, _, taps = network.represent(golden_images())

    torch.testing.assert_close(logits, torch.tensor(case["logits"]), rtol=0, atol=1e-8)
    for tap, expected in zip(taps, case["feature_means"], strict=True):
        means = tap.mean((2, 3))
        first, total = [e["first5"] for e in expected], [e["channel_sum"] for e in expected]
        torch.testing.assert_close(means[:, :5], torch.tensor(first), rtol=0, atol=1e-8)
        torch.testing.assert_close(means.sum(1), torch.tensor(total), rtol=0, atol=1e-8)


def test_densenet_starts_with_the_published_deviation() -> None:
    for conv in convolutions(networks.build("densenet-bc-100-12", 10, seed=0)):
        assert conv.weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.1)  # 648 weights at least: 3.5 sigma


def test_densenet_can_start_with_he_fan_out() -> None:
    torch.manual_seed(0)
    network = DenseNet(10, init="he")
    assert network.conv1.weight.std().item() == pytest.approx((2 / (9 * 24)) ** 0.5, rel=0.1)
    bottleneck = torch.cat([c.weight.flatten() for c in convolutions(network) if c.out_channels == 48])
    assert bottleneck.std().item() == pytest.approx((2 / 48) ** 0.5, rel=0.02)


def test_wideresnet_starts_with_he_fan_out() -> None:
    convs = dict(networks.build("wideresnet-40-4", 10, seed=0).named_modules())
    for name, fan_out in {
        "conv1": 9 * 16,
        "block1.layer.0.conv1": 9 * 64,
        "block2.layer.0.convShortcut": 128,
        "block3.layer.5.conv2": 9 * 256,
    }.items():
        weight = convs[name].weight
        assert isinstance(weight, Tensor)
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", OURS.values())
def test_linear_bias_starts_at_zero_and_batch_norm_at_identity(name: str) -> None:
    network = networks.build(name, 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all() and module.bias.eq(0).all()
            assert (module.eps, module.momentum) == (1e-5, 0.1)
    assert network.get_parameter("fc.bias").eq(0).all()
    bound = network.get_parameter("fc.weight").size(1) ** -0.5
    assert 0.9 * bound < network.get_parameter("fc.weight").abs().max() <= bound


def test_wideresnet_of_width_two_has_the_entries_of_width_four_at_half_the_channels() -> None:
    two, four = networks.build("wideresnet-40-2", 10), networks.build("wideresnet-40-4", 10)
    assert list(two.state_dict()) == list(four.state_dict())
    assert sum(p.numel() for p in two.parameters()) == 2_243_546  # as pytorch-ood's network of that name has
    taps = two.represent(torch.rand(1, 3, 32, 32)).taps
    assert [tuple(tap.shape[1:]) for tap in taps] == [(16, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8)]


def test_resnet_has_the_entries_of_openood() -> None:
    network = networks.build("resnet18-32x32", 10)
    stored = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    convolutions = {"conv1"} | {
        f"layer{group}.{block}.conv{i}" for group in range(1, 5) for block in (0, 1) for i in (1, 2)
    }
    norms = {name.replace("conv", "bn") for name in convolutions}
    convolutions |= {f"layer{group}.0.shortcut.0" for group in (2, 3, 4)}
    norms |= {f"layer{group}.0.shortcut.1" for group in (2, 3, 4)}
    expected = {f"{name}.weight" for name in convolutions} | {f"{name}.{part}" for name in norms for part in stored}
    assert set(network.state_dict()) == expected | {"fc.weight", "fc.bias"}
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    logits, features, taps = network.represent(torch.rand(2, 3, 32, 32))
    shapes = [(64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert [tuple(tap.shape[1:]) for tap in taps] == shapes
    assert logits.shape == (2, 10) and features.shape == (2, 512) and features.min() >= 0


def test_small_cnn_has_three_activations_and_keeps_positions() -> None:
    network = networks.build("small-cnn", 11, seed=0)
    images = torch.rand(2, 3, 32, 32)
    logits, features, taps = network.represent(images)
    assert [tuple(tap.shape) for tap in taps] == [(2, 32, 16, 16), (2, 64, 8, 8), (2, 64, 4, 4)]
    assert all(tap.min() == 0 for tap in taps)
    assert logits.shape == (2, 11) and features.shape == (2, 1024)
    assert not torch.allclose(network(images.roll(8, 3)), logits)


@pytest.mark.parametrize(
    ("name", "width", "parameters"),
    [("preactresnet-8-32", 32, 308_266), ("preactresnet-14-32", 32, 696_234), ("preactresnet-8-64", 64, 1_226_826)],
)
def test_preactresnet_shows_the_stem_and_three_groups(name: str, width: int, parameters: int) -> None:
    network = networks.build(name, 10).eval()
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    _, features, taps = network.represent(torch.rand(2, 3, 32, 32))
    shapes = [(width, 16, 16), (width, 16, 16), (2 * width, 8, 8), (4 * width, 4, 4)]
    assert [tuple(tap.shape[1:]) for tap in taps] == shapes
    assert taps[-1].min() == 0  # behind ReLU
    torch.testing.assert_close(features, taps[-1].flatten(2).mean(2))


def test_a_preactresnet_block_whose_convolutions_are_nothing_is_the_identity() -> None:
    network = networks.build("preactresnet-14-32", 10).eval()
    for group in (network.group1, network.group2, network.group3):
        nn.init.zeros_(group[-1].conv2.weight)
    maps = torch.randn(2, 32, 16, 16)
    assert torch.equal(network.group1[-1](maps), maps)
    # Where the shape changes, the shortcut sees what the first convolution sees (He et al. 2016, figure 4e).
    first = network.group2[0]
    nn.init.zeros_(first.conv2.weight)
    torch.testing.assert_close(first(maps), first.shortcut(first.bn1(maps).relu()))


def test_channels_last_is_a_layout_and_moves_no_weight_to_another_place() -> None:
    network = networks.build("preactresnet-8-32", 10).eval()
    again = networks.build("preactresnet-8-32", 10).eval().to(memory_format=torch.contiguous_format)
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(again(images), network(images), rtol=1e-4, atol=1e-5)


def test_without_seed_the_caller_seeds() -> None:
    torch.manual_seed(5)
    first = networks.build("small-cnn", 10)
    second = networks.build("small-cnn", 10)
    torch.manual_seed(5)
    again = networks.build("small-cnn", 10)
    assert torch.equal(first.get_parameter("fc.weight"), again.get_parameter("fc.weight"))
    assert not torch.equal(first.get_parameter("fc.weight"), second.get_parameter("fc.weight"))


def test_every_name_has_a_line() -> None:
    names = networks.names()
    lines = [networks.describe(name) for name in names]
    assert len(set(lines)) == len(names) and all(line and "\n" not in line for line in lines)


@pytest.mark.parametrize("call", [lambda name: networks.build(name, 10), networks.describe], ids=["build", "describe"])
def test_unknown_name_is_answered_with_the_nearest(call: Any) -> None:
    with pytest.raises(OodbenchError, match=r"unknown network 'densenet': .*densenet-bc-100-12"):
        call("densenet")
