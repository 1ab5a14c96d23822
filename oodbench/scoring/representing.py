"""Computes the logits and features of an image set, in the batches in which detectors would be shown it."""

from functools import partial

import torch
from torch import Tensor

from oodbench.basics.memory import Portions
from oodbench.basics.progress import progress
from oodbench.images.imageset import ImageSet
from oodbench.networks.logits_alone import LogitsAlone
from oodbench.networks.network import Network, as_input
from oodbench.networks.of_features import NetworkOutputs
from oodbench.scoring.batches import batches, exact


def represent_set(network: Network, images: ImageSet, device: torch.device) -> NetworkOutputs:
    """The logits and features of `images`, float32 on the CPU; no features of a network of logits alone."""
    parts: list[tuple[Tensor, Tensor]] = []
    portions = Portions()
    with progress(f"features of {images.name}", len(images), passes=1) as advance, exact(network), torch.no_grad():
        for pixels, _ in batches(images, device):
            parts += portions.each(len(pixels), partial(_represent_part, network, pixels))
            advance(len(pixels))
    logits, features = (torch.cat(of_all) for of_all in zip(*parts, strict=True))
    return NetworkOutputs(logits, features if features.shape[1] else None)


def _represent_part(network: Network, pixels: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    representation = network.represent(as_input(pixels[rows]))
    # By place, where nothing (N, 0) stands for what the network does not have.
    features = representation[1] if isinstance(representation, LogitsAlone) else representation.features
    return representation.logits.float().cpu(), features.float().cpu()
