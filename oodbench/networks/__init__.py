"""Networks by name, normalisation inside; checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from oodbench.basics.errors import unknown
from oodbench.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from oodbench.networks.network import Network


@dataclass(frozen=True)
class _Offered:
    """A network that comes with oodbench.

    Attributes:
        home: its module in here, imported when the network is built: what there is can be said without torch.
        made: the class there.
        description: one line for people.
        options: of the class, beside outputs, mean and deviation.
    """

    home: str
    made: str
    description: str
    options: dict[str, int] = field(default_factory=dict)

    def build(self, outputs: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Network:
        network: Network = getattr(import_module(self.home), self.made)(outputs, mean, std, **self.options)
        return network


_NETWORKS = {
    "densenet-bc-100-12": _Offered(
        "oodbench.networks.densenet",
        "DenseNet",
        "DenseNet-BC, depth 100, growth 12, for 32x32 images: 0.8 M parameters, 342 features",
    ),
    "wideresnet-40-4": _Offered(
        "oodbench.networks.wideresnet",
        "WideResNet",
        "WideResNet, depth 40, width 4, for 32x32 images: 8.9 M parameters, 256 features",
    ),
    "wideresnet-40-2": _Offered(
        "oodbench.networks.wideresnet",
        "WideResNet",
        "WideResNet, depth 40, width 2, for 32x32 images: 2.2 M parameters, 128 features",
        {"width": 2},
    ),
    "resnet18-32x32": _Offered(
        "oodbench.networks.resnet",
        "ResNet",
        "ResNet-18 with a stem for 32x32 images, as OpenOOD has it: 11.2 M parameters, 512 features",
    ),
    "preactresnet-8-32": _Offered(
        "oodbench.networks.preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 8, width 32, for 32x32 images: 0.3 M parameters, 128 features",
    ),
    "preactresnet-14-32": _Offered(
        "oodbench.networks.preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 14, width 32, for 32x32 images: 0.7 M parameters, 128 features",
        {"blocks": 2},
    ),
    "preactresnet-8-64": _Offered(
        "oodbench.networks.preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 8, width 64, for 32x32 images: 1.2 M parameters, 256 features",
        {"width": 64},
    ),
    "small-cnn": _Offered(
        "oodbench.networks.smallcnn",
        "SmallCNN",
        "three strided convolutions and a linear layer, for 32x32 images: 0.07 M parameters, 1024 features",
    ),
}


Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Channel mean and deviation, in [0, 1] units."""

_SIDE = 32
"""Of the images that the networks which come with oodbench are made for."""


def names() -> list[str]:
    """The networks that come with oodbench. Those of timm are known too, and are many."""
    return list(_NETWORKS)


def require(name: str) -> None:
    """Nothing, if `build` knows the network `name`.

    Raises:
        OodbenchError: neither oodbench nor timm has it.
    """
    if name not in _NETWORKS and not _of_timm().known(name):
        raise unknown("network", name, {*_NETWORKS, *_alike(name)}, "and every network of timm, by its name there")


def normalisation(name: str) -> Normalisation:
    """What the network `name` takes from each channel unless a suite says otherwise: nothing, or what timm has.

    Raises:
        OodbenchError: no such network.
    """
    require(name)
    if name in _NETWORKS:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    found: Normalisation = _of_timm().normalisation(name)
    return found


def preprocessing(name: str) -> Preprocessing:
    """How image files become the input of the network `name`: whole at 32 pixels, or as timm has it."""
    if name in _NETWORKS:
        return Preprocessing(side=_SIDE, crop=1.0)
    found: Preprocessing = _of_timm().preprocessing(name)
    return found


def describe(name: str) -> str:
    """One line about the network `name`.

    Raises:
        OodbenchError: no such network.
    """
    if name not in _NETWORKS:
        raise unknown("network", name, _NETWORKS)
    return _NETWORKS[name].description


def build(
    name: str,
    outputs: int,
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    seed: int | None = None,
) -> Network:
    """The untrained network `name`, in train mode, on the CPU.

    Args:
        name: one of `names()`, or timm's.
        outputs: number of logits, a reject class included.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
        seed: makes the weights a function of the seed alone and leaves the global generators as they were;
            None draws from torch's global generator.

    Raises:
        OodbenchError: no such network.
    """
    import torch

    require(name)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            # Not torch.manual_seed: that one also seeds the accelerators, whose state is not put back here.
            torch.default_generator.manual_seed(seed)
        if name in _NETWORKS:
            return _NETWORKS[name].build(outputs, mean, std)
        network: Network = _of_timm().TimmNetwork(name, outputs, mean, std)
        return network


def _of_timm() -> ModuleType:
    # timm takes seconds to import, and suites of small images do without it.
    from oodbench.networks import of_timm

    return of_timm


def _alike(name: str) -> list[str]:
    return get_close_matches(name, _of_timm().names(), n=3)
