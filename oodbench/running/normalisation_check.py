"""Is a given network shown pixels as it was trained on them? Its file seldom says, but its accuracy does.

Mean and deviation of the pixels are no weights: a network that was trained with some and is used without loads well and
is wrong on half of the images. What can be known is whether it would be right more often with another usual pair.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oodbench.basics.words import excerpt
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.resident import resident
from oodbench.networks.network import Network, as_input, batch_size
from oodbench.running.network_provenance import metadata
from oodbench.sources.trained import TRAINED
from oodbench.suite import NetworkSpec

FAR = 0.75
"""Accuracy from which on another normalisation is not looked for: it would gain little."""

IMAGES = 200
"""Labelled images, of each class its share, on which others are tried."""

GAIN = 0.1
"""Share of these that another one must set right before it is spoken of."""

Pair = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of the RGB channels, in [0, 1] units."""

USUAL: Mapping[str, Pair] = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "from -1 to 1": ((0.5,) * 3, (0.5,) * 3),
    **{f"as of {name}": (one.mean, one.std) for name, one in TRAINED.items()},
}
"""What networks are trained with, by a word for it."""


def doubt(
    network: Network,
    spec: NetworkSpec,
    file: Path,
    detector: Detector,
    test: ImageSet,
    right: float,
    device: torch.device,
) -> str:
    """Why a given network is not shown pixels as it was trained on them; "" if it may be.

    Args:
        network: on `device`, as it is scored with.
        spec: what the suite says of it.
        file: that it was given by.
        detector: over it, whose rule says which class an image is of.
        test: the ID test set.
        right: the share of its labelled images that are recognised.
        device: where the network is.
    """
    said = metadata(file).get("network", "")
    if said.startswith(f"NetworkSpec(name={spec.name!r},") and said != spec.trained_as:
        return (
            f"checkpoint {file.name} says that it was trained as {excerpt(said)}, and the suite has {spec}: give both "
            "one mean and std under [network] in the suite's file"
        )
    if right >= FAR or test.unlabelled:
        return ""
    some = test.spread(IMAGES)
    found = {pair: _right(network, detector, some, pair, device) for pair in _distinct(some)}
    own = tuple(network.mean.flatten().tolist()), tuple(network.std.flatten().tolist())
    usual = _right(network, detector, some, own, device)
    best = max(found, key=lambda pair: found[pair])
    if found[best] - usual <= GAIN:
        return ""
    mean, std = ([round(value, 4) for value in values] for values in best)
    return (
        f"of {len(some)} images of {test.name} {found[best]:.0%} would be right instead of {usual:.0%} with pixels "
        f"normalised otherwise, by mean = {mean} and std = {std} for one: find out what {file.name} was trained with, "
        "and say it under [network] in the suite's file"
    )


def _distinct(test: ImageSet) -> list[Pair]:
    """Usual pairs, each once, and that of the images themselves."""
    pixels = np.asarray(test.pixels(), np.float64).reshape(-1, 3) / 255 if isinstance(test.images, np.ndarray) else None
    own: list[Pair] = []
    if pixels is not None and (pixels.std(0) > 0).all():
        own.append((tuple(pixels.mean(0).tolist()), tuple(pixels.std(0).tolist())))
    return list(dict.fromkeys([*USUAL.values(), *own]))


def _right(network: Network, detector: Detector, some: ImageSet, pair: Pair, device: torch.device) -> float:
    """The share of images that is recognised if pixels are normalised by `pair` in place of the network's own."""
    images = resident(some, device)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in pair)
    groups = torch.split(torch.arange(len(some)), batch_size(device, some.images.shape[1]))
    right = 0

    def instead(pixels: Tensor) -> Tensor:
        return (as_input(pixels) - mean) / std * network.std + network.mean

    with torch.no_grad():
        for pixels, labels in images.in_turn(groups):
            right += int((detector.predict(network.represent(instead(pixels))) == labels).sum())
    return right / max(int((some.labels >= 0).sum()), 1)
