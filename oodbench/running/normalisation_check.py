"""A check that a given network gets pixels normalised as in its training, judged by its accuracy.

Mean and deviation of the pixels are not weights: a network that was trained with them and is used without them loads
without an error and is wrong on half of the images. Its file seldom says what they were, so it is tried whether the
network would be right more often with another usual pair.
"""

from collections.abc import Mapping
from math import sqrt
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
"""Accuracy from which on no other normalisation is tried: it would gain little."""

IMAGES = 200
"""Number of labelled images, of each class its share, on which other normalisations are tried."""

Pair = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and deviation of the RGB channels, in [0, 1] units."""

USUAL: Mapping[str, Pair] = {
    "none": ((0.0,) * 3, (1.0,) * 3),
    "from -1 to 1": ((0.5,) * 3, (0.5,) * 3),
    **{f"as of {name}": (network.mean, network.std) for name, network in TRAINED.items()},
}
"""Usual pairs that networks are trained with, by name."""


def doubt(
    network: Network,
    spec: NetworkSpec,
    file: Path,
    detector: Detector,
    test: ImageSet,
    right: float,
    device: torch.device,
) -> str:
    """Say why pixels do not seem normalised as a given network was trained; "" where nothing speaks against it.

    Args:
        network: on `device`, as it is scored with.
        spec: the suite's, of this network.
        file: that the network was given by.
        detector: over the network; its rule says which class an image is of.
        test: the ID test set.
        right: the share of its labelled images that the network is right on.
        device: where the network is.
    """
    trained_as = metadata(file).get("network", "")
    if trained_as.startswith(f"NetworkSpec(name={spec.name!r},") and trained_as != spec.trained_as:
        return (
            f"checkpoint {file.name} says that it was trained as {excerpt(trained_as)}, and the suite has {spec}: give "
            "both one mean and std under [network] in the suite's file"
        )
    if right >= FAR or test.unlabelled:
        return ""
    images = test.spread(IMAGES)
    labelled = int((images.labels >= 0).sum())
    accuracies = {pair: _accuracy(network, detector, images, pair, device) for pair in _candidates(images)}
    own = tuple(network.mean.flatten().tolist()), tuple(network.std.flatten().tolist())
    own_accuracy = _accuracy(network, detector, images, own, device)
    best = max(accuracies, key=lambda pair: accuracies[pair])
    # Two standard errors of the difference of two shares of so many images, where it is largest.
    if accuracies[best] - own_accuracy <= sqrt(2 / max(labelled, 1)):
        return ""
    mean, std = ([round(value, 4) for value in values] for values in best)
    return (
        f"of {labelled} labelled images of {test.name} {accuracies[best]:.0%} would be right instead of "
        f"{own_accuracy:.0%} with pixels normalised otherwise, by mean = {mean} and std = {std} for one: find out "
        f"what {file.name} was trained with, and say it under [network] in the suite's file"
    )


def _candidates(test: ImageSet) -> list[Pair]:
    """The usual pairs, each once, and the mean and deviation of the images themselves."""
    pixels = np.asarray(test.pixels(), np.float64).reshape(-1, 3) / 255 if isinstance(test.images, np.ndarray) else None
    own: list[Pair] = []
    if pixels is not None and (pixels.std(0) > 0).all():
        own.append((tuple(pixels.mean(0).tolist()), tuple(pixels.std(0).tolist())))
    return list(dict.fromkeys([*USUAL.values(), *own]))


def _accuracy(network: Network, detector: Detector, test: ImageSet, pair: Pair, device: torch.device) -> float:
    """The accuracy on labelled images if pixels are normalised by `pair` in place of the network's own."""
    images = resident(test, device)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in pair)
    groups = torch.split(torch.arange(len(test)), batch_size(device, test.images.shape[1]))
    right = 0

    def renormalised(pixels: Tensor) -> Tensor:
        return (as_input(pixels) - mean) / std * network.std + network.mean

    with torch.no_grad():
        for pixels, labels in images.in_turn(groups):
            answers = detector.predict(network.represent(renormalised(pixels)))
            right += int(((answers == labels) & (labels >= 0)).sum())  # a refusal, -1, is no right answer on no label
    return right / max(int((test.labels >= 0).sum()), 1)
