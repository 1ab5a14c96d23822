"""Networks without a head, `headless:NAME` for timm's `num_classes = 0`: features and taps, and no logits.

Backbones that were trained without labels (DINOv2 and such) are that. KNN, Mahalanobis distances and whatever else
looks at features alone work on them; a detector that asks for logits is refused by its name.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.networks.builder import Builder
from oodbench.networks.naming import keep_names
from oodbench.networks.network import MissingPartError, Network, Representation

LIBRARY = "headless"


class NoLogitsError(MissingPartError):
    """Logits were asked of a network that has none."""

    def __init__(self) -> None:
        super().__init__(
            "needs logits, and the network has no head that makes some: take detectors that look at features alone, "
            "such as knn, residual, rmds and mahalanobis++, or a network with a head"
        )


def find(name: str) -> Builder:
    """The builder of a network of timm's without its head.

    Raises:
        OodbenchError: timm has no such network.
    """
    from oodbench.networks import of_timm  # timm takes seconds to import

    if not of_timm.has_network(name):
        raise OodbenchError(f"timm has no network {name!r}: write {LIBRARY}:NAME with a name of timm.list_models()")
    mean, std = of_timm.normalisation(name)
    made, prepared = partial(_build, name), of_timm.preprocessing(name)
    return Builder(made, f"{name} of timm, without its head", mean, std, preprocessing=prepared)


def _build(name: str, outputs: int, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    return HeadlessNetwork(name, mean, std)


class Headless(Representation):
    """A representation whose logits say that there are none when they are asked for."""

    @property
    def logits(self) -> NoReturn:
        """Never there."""
        raise NoLogitsError


class NoClasses(Tensor):
    """The weight (0, D) of a last layer of no outputs, which nothing can be made of but its pseudo-inverse.

    That is what centres a space of features on the point where all logits are 0 (ViM's residual): here on 0.
    """

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let through what may be done with it.

        Raises:
            NoLogitsError: all else.
        """
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **(kwargs or {}))
        if function is torch.linalg.pinv or not isinstance(result, Tensor):
            return result
        if function in (Tensor.__getitem__, Tensor.double, Tensor.detach):
            return result.as_subclass(cls)
        raise NoLogitsError


class NoHead(nn.Linear):
    """A last layer of no outputs, so that no direction of the features is a class's."""

    def __init__(self, features: int, device: torch.device) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = features, 0
        vars(self)["weight"] = torch.empty(0, features, device=device).as_subclass(NoClasses)
        vars(self)["bias"] = torch.empty(0, device=device)

    def forward(self, _: Tensor) -> NoReturn:
        """Refuse: nothing comes behind the features.

        Raises:
            NoLogitsError: always.
        """
        raise NoLogitsError


class HeadlessNetwork(Network):
    """A network of timm's up to its features; its weights have timm's names.

    Its taps are timm's intermediate feature maps, or none where timm gives none.

    Args:
        name: as timm has it.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.
    """

    def __init__(self, name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        import timm

        super().__init__(mean, std)
        self.name = name
        self.body: Any = timm.create_model(name, pretrained=False, num_classes=0)
        keep_names(self, "body")

    def last_layer(self) -> nn.Module | None:
        """A layer that has no outputs."""
        return NoHead(int(self.body.num_features), self.mean.device)

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1]; of its logits only that there are none."""
        normalised, taps = self.normalise(images), []
        if hasattr(self.body, "forward_intermediates"):
            last, taps = self.body.forward_intermediates(normalised, output_fmt="NCHW")
        else:
            last = self.body.forward_features(normalised)
        features = self.body.forward_head(last, pre_logits=True)
        return Headless(images.new_empty((len(images), 0)), features, tuple(taps))
