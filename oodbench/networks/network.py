"""The interface of a network: logits and features in one pass, normalisation inside."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError


class MissingPartError(OodbenchError):
    """Something was asked for that a network, or what stands for it, does not give.

    The message goes on from the name of the detector that asked: "needs logits, and the network has ...".
    """

    def of(self, detector: str) -> OodbenchError:
        """Return the error with the name of the `detector` in front."""
        return OodbenchError(f"{detector} {self}")


class Representation(NamedTuple):
    """Everything that one forward pass gives to a detector.

    Attributes:
        logits: (N, outputs).
        features: (N, D), what the last linear layer sees.
        taps: feature maps (N, C_l, H_l, W_l), from the input towards the output.
    """

    logits: Tensor
    features: Tensor
    taps: tuple[Tensor, ...]


class Network(nn.Module, ABC):
    """A classifier over images in [0, 1].

    Channel normalisation is the first step of `represent`, so that an attack's epsilon means pixels for every network.
    It is held in non-persistent buffers: checkpoints do not carry it.

    Args:
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.

    Attributes:
        tf32: attacks and scores may round products to TF32 on a GPU.
    """

    mean: Tensor
    std: Tensor
    tf32: bool = False

    def __init__(self, mean: tuple[float, ...] = (0.0, 0.0, 0.0), std: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @abstractmethod
    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1]."""

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The feature maps of `represent`, one after the other, so that callers can stop early."""
        yield from self.represent(images).taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, outputs) of images, float (N, 3, H, W) in [0, 1]."""
        return self.represent(images).logits

    @property
    def head(self) -> nn.Linear:
        """The layer that makes logits of features.

        Raises:
            OodbenchError: the network ends in something else.
        """
        last = self.last_layer()
        if not isinstance(last, nn.Linear):
            raise OodbenchError(
                f"{type(self).__name__} does not end in one linear layer: leave detectors out that rework features "
                "before the last layer, or name another network"
            )
        return last

    def last_layer(self) -> nn.Module | None:
        """The layer behind the features; `fc` in the networks that come with oodbench."""
        return getattr(self, "fc", None)

    def normalise(self, images: Tensor) -> Tensor:
        """Images with the channel mean taken away and the channel deviation divided out."""
        return (images - self.mean) / self.std


SMALL = 64
"""Pixels, up to which a side is that of a small image."""


def batch_size(device: torch.device, side: int) -> int:
    """Images of `side` pixels at a time where no gradient step is taken.

    Fixed for a kind of device, since rounding may depend on it. On a CPU, activations of more than a few dozen small
    images leave the cache: DenseNet was three times slower at 256.
    """
    if side <= SMALL:
        return 64 if device.type == "cpu" else 512
    return 16 if device.type == "cpu" else 128


def as_input(pixels: Tensor) -> Tensor:
    """Images as a network takes them, float32 in [0, 1], from uint8 `pixels` of the same shape."""
    return pixels.float() / 255
