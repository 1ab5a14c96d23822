"""Networks by name, normalisation inside; checkpoints."""

from collections.abc import Callable

import torch

from oodbench.errors import unknown
from oodbench.networks.densenet import DenseNet
from oodbench.networks.network import Network
from oodbench.networks.smallcnn import SmallCNN
from oodbench.networks.wideresnet import WideResNet

_NETWORKS: dict[str, Callable[[int, tuple[float, ...], tuple[float, ...]], Network]] = {
    "densenet-bc-100-12": DenseNet,
    "wideresnet-40-4": WideResNet,
    "small-cnn": SmallCNN,
}

_DESCRIPTIONS = {
    "densenet-bc-100-12": "DenseNet-BC, depth 100, growth 12, for 32x32 images: 0.8 M parameters, 342 features",
    "wideresnet-40-4": "WideResNet, depth 40, width 4, for 32x32 images: 8.9 M parameters, 256 features",
    "small-cnn": "three strided convolutions and a linear layer, for 32x32 images: 0.07 M parameters, 1024 features",
}


def names() -> list[str]:
    """The networks that `build` knows."""
    return list(_NETWORKS)


def describe(name: str) -> str:
    """One line about the network `name`.

    Raises:
        OodbenchError: no such network.
    """
    if name not in _DESCRIPTIONS:
        raise unknown("network", name, _DESCRIPTIONS)
    return _DESCRIPTIONS[name]


def build(
    name: str,
    outputs: int,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    seed: int | None = None,
) -> Network:
    """The untrained network `name`, in train mode, on the CPU.

    Args:
        name: one of `names()`.
        outputs: number of logits, a reject class included.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
        seed: makes the weights a function of the seed alone and leaves the global generators as they were;
            None draws from torch's global generator.

    Raises:
        OodbenchError: no such network.
    """
    if name not in _NETWORKS:
        raise unknown("network", name, _NETWORKS)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            # Not torch.manual_seed: that one also seeds the accelerators, whose state is not put back here.
            torch.default_generator.manual_seed(seed)
        return _NETWORKS[name](outputs, mean, std)
