"""Any network of timm by its name there, with its normalisation and preprocessing, and weights as timm names them."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.naming import keep_names
from oodbench.networks.network import Network, Representation

AGREES = 1e-4
"""The distance of logits put together from features to those of the network itself, as a share of their size."""


def has_network(name: str) -> bool:
    """Whether timm has a network of this name, with or without the tag of its weights: `resnet50.tv_in1k`."""
    architecture, _, tag = name.partition(".")
    return bool(timm.is_model(architecture)) and (not tag or name in timm.list_pretrained(f"{architecture}.*"))


def names() -> list[str]:
    """Every network that timm has."""
    return list(timm.list_models())


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel mean and deviation that the network's weights were trained with, in [0, 1] units."""
    config = _config(name)
    return tuple(config.mean), tuple(config.std)


def preprocessing(name: str) -> Preprocessing:
    """The preprocessing with which the network's weights were tested."""
    config = _config(name)
    return Preprocessing(config.input_size[-1], config.crop_pct, config.interpolation, config.crop_mode)


class TimmNetwork(Network):
    """A network of timm, taken apart into features and the linear layer behind them.

    Its taps are timm's intermediate feature maps, or the last one alone where timm gives no others.

    Args:
        name: as timm has it.
        outputs: number of logits.
        mean: subtracted from each RGB channel, in [0, 1] units.
        std: divides each RGB channel.

    Raises:
        OodbenchError: the network cannot be taken apart so that the parts give its own logits.
    """

    def __init__(self, name: str, outputs: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(mean, std)
        self.name = name
        self.body: Any = timm.create_model(name, pretrained=False, num_classes=outputs)
        keep_names(self, "body")
        self._check_parts(preprocessing(name).side)

    def last_layer(self) -> nn.Module | None:
        """The layer that timm calls the classifier."""
        last: nn.Module = self.body.get_classifier()
        return last

    def represent(self, images: Tensor) -> Representation:
        """One forward pass over images, float (N, 3, H, W) in [0, 1]."""
        last, taps = self._maps(self.normalise(images))
        features = self.body.forward_head(last, pre_logits=True)
        return Representation(self.body.get_classifier()(features), features, taps)

    def _maps(self, normalised: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        if not hasattr(self.body, "forward_intermediates"):
            last = self.body.forward_features(normalised)
            return last, (last,)
        last, taps = self.body.forward_intermediates(normalised, output_fmt="NCHW")
        return last, tuple(taps)

    def _check_parts(self, side: int) -> None:
        """Check that the parts give the network's own logits; with two heads, say, they would silently be others."""
        training = self.training
        self.eval()
        with torch.no_grad():
            images = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
            try:
                whole, parts = self.body(self.normalise(images)), self.represent(images)
                agree = torch.allclose(parts.logits, whole, rtol=AGREES, atol=AGREES * float(whole.abs().max()))
                flat = parts.features.ndim == 2 and all(tap.ndim == 4 for tap in parts.taps)
            except (AttributeError, TypeError, RuntimeError):
                agree = flat = False
        self.train(training)
        if not (agree and flat):
            raise OodbenchError(
                f"timm's {self.name} cannot be used: it is not features and one layer behind them; name another network"
            )


def _config(name: str) -> timm.models.PretrainedCfg:
    config = timm.models.get_pretrained_cfg(name)
    if config is None:
        raise OodbenchError(f"timm does not say how images become the input of {name}; name another network")
    return config
