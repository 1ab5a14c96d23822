"""Any classifier of torchvision, `torchvision:resnet18`: its input as torchvision's weights want it.

Behind a full stop may stand the name of weights there, `torchvision:resnet50.IMAGENET1K_V1`, whose input is another one
than that of `IMAGENET1K_V2`; without, the input is that of the weights which torchvision calls its default. Nothing is
downloaded: weights come with a checkpoint, and `oodbench.sources.torchvision_weights` fetches those of torchvision.
"""

from __future__ import annotations

from functools import partial
from math import floor
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.builder import Builder

if TYPE_CHECKING:
    from torch import nn

LIBRARY = "torchvision"


def find(name: str) -> Builder:
    """The builder of a network by its name in torchvision, with or without that of weights behind a full stop.

    Raises:
        OodbenchError: torchvision has no such classifier or weights.
    """
    architecture, _, tag = name.partition(".")
    weights = weights_of(architecture, tag)
    prepared: Any = weights.transforms()
    return Builder(
        partial(_build, architecture),
        f"{architecture} of torchvision",
        tuple(prepared.mean),
        tuple(prepared.std),
        preprocessing=_preprocessing(prepared.crop_size[0], prepared.resize_size[0], prepared.interpolation.value),
    )


def weights_of(architecture: str, tag: str = "") -> Any:
    """An entry of torchvision's weights for a classifier: the one called `tag`, or the default.

    Raises:
        OodbenchError: there is none.
    """
    from torchvision import models  # takes a second, and few need it

    names = models.list_models(module=models)
    if architecture not in names:
        raise unknown(f"classifier of {LIBRARY}", architecture, names)
    every = models.get_model_weights(architecture)
    if tag and tag not in every.__members__:
        raise unknown(f"weights of {LIBRARY}'s {architecture}", tag, every.__members__)
    return every[tag] if tag else every.DEFAULT


def _build(architecture: str, num_classes: int) -> nn.Module:
    from torchvision import models

    options = {"init_weights": True} if architecture in ("googlenet", "inception_v3") else {}
    try:
        made: nn.Module = models.get_model(architecture, weights=None, num_classes=num_classes, **options)
    except ImportError as error:  # what some of its networks need beside it
        raise OodbenchError(f"{LIBRARY}'s {architecture} cannot be built: {error}") from error
    return made


def _preprocessing(side: int, resized: int, interpolation: str) -> Preprocessing:
    """The preprocessing that resizes the shorter side to `resized` pixels and cuts `side` out of the middle."""
    crop = min(1.0, side / resized)
    if floor(side / crop) != resized:  # which is how the number of pixels is found again
        crop = side / (resized + 0.5)
    return Preprocessing(side, crop, interpolation)
