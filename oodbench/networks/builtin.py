"""The networks that come with oodbench, by name; they come in by the same door as everybody else's.

Their classes are imported when one is built: what there is can be said without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.builder import NONE, Builder, Channels

if TYPE_CHECKING:
    from oodbench.networks.network import Network

WHOLE = Preprocessing(side=32, crop=1.0)
"""Images at 32 pixels, for which all of them are made."""


def _builder(home: str, made: str, description: str, **options: int) -> Builder:
    """The builder of a class of this package, with `options` beside outputs, mean and deviation."""

    def make(outputs: int, mean: Channels, std: Channels) -> Network:
        network: Network = getattr(import_module(f"oodbench.networks.{home}"), made)(outputs, mean, std, **options)
        return network

    return Builder(make, description, *NONE, preprocessing=WHOLE)


NETWORKS: Mapping[str, Builder] = {
    "densenet-bc-100-12": _builder(
        "densenet",
        "DenseNet",
        "DenseNet-BC, depth 100, growth 12, for 32x32 images: 0.8 M parameters, 342 features",
    ),
    "wideresnet-40-4": _builder(
        "wideresnet",
        "WideResNet",
        "WideResNet, depth 40, width 4, for 32x32 images: 8.9 M parameters, 256 features",
    ),
    "wideresnet-40-2": _builder(
        "wideresnet",
        "WideResNet",
        "WideResNet, depth 40, width 2, for 32x32 images: 2.2 M parameters, 128 features",
        width=2,
    ),
    "resnet18-32x32": _builder(
        "resnet",
        "ResNet",
        "ResNet-18 with a stem for 32x32 images, as OpenOOD has it: 11.2 M parameters, 512 features",
    ),
    "preactresnet-8-32": _builder(
        "preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 8, width 32, for 32x32 images: 0.3 M parameters, 128 features",
    ),
    "preactresnet-14-32": _builder(
        "preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 14, width 32, for 32x32 images: 0.7 M parameters, 128 features",
        blocks=2,
    ),
    "preactresnet-8-64": _builder(
        "preactresnet",
        "PreActResNet",
        "pre-activation ResNet, depth 8, width 64, for 32x32 images: 1.2 M parameters, 256 features",
        width=64,
    ),
    "small-cnn": _builder(
        "smallcnn",
        "SmallCNN",
        "three strided convolutions and a linear layer, for 32x32 images: 0.07 M parameters, 1024 features",
    ),
}
