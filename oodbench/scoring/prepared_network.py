"""Prepares a user's network and images for detectors: `benchmark` and `fit` do the same with both."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.networks.network import Network, as_input
from oodbench.networks.of_module import ModuleNetwork
from oodbench.scoring.given_sets import label_doubts, require_labels, require_sets_apart
from oodbench.scoring.learning_images import LearningImages
from oodbench.scoring.on_module import BenchmarkConfig, FitConfig
from oodbench.scoring.other_outputs import TRIAL_IMAGES
from oodbench.scoring.user_input import Given


@dataclass(frozen=True)
class PreparedNetwork:
    """A user's network, and the images that detectors on it may learn from, both checked.

    Attributes:
        network: on the device.
        classes: number of ID classes, the network's first outputs.
        learning: images to learn from.
        trial_images: a few images as the network takes them, float (n, 3, H, W), on the device.
        overlaps: a sentence for each two image sets that share images.
    """

    network: Network
    classes: int
    learning: LearningImages
    trial_images: Tensor
    overlaps: list[str]

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return self.trial_images.device

    def warnings(self) -> list[str]:
        """Sentences on a network of logits alone, on overlapping sets, and on labels that hardly are its classes."""
        note = ""
        if isinstance(self.network, ModuleNetwork) and self.network.logits_alone_note:
            note = f"{self.network.logits_alone_note}; its {self.network.outputs} outputs are taken for logits"
        doubts = label_doubts(self.network, self.learning.id_sets, self.classes, self.device)
        return [*filter(None, [note]), *self.overlaps, *doubts]


def prepare_network(
    config: BenchmarkConfig | FitConfig,
    learning: LearningImages,
    sample: Given,
    device: torch.device,
    id_images: Given | None = None,
    ood_sets: Sequence[Given] = (),
) -> PreparedNetwork:
    """Wrap a user's network, and check that all images go with it and that no two sets are the same.

    Args:
        config: gives the network.
        learning: images that detectors may learn from.
        sample: images of the size that the network takes.
        device: where the network is put.
        id_images: ID test images, if there are any.
        ood_sets: OOD test images, if there are any.

    Raises:
        OodbenchError: the network cannot be used, labels do not go with it, or one set is a part of another.
    """
    trial_images = first_images(sample, device)
    network = config.wrap_network(config.network, trial_images)
    tested = id_images.images if id_images else None
    classes = require_labels(network, trial_images, config.classes, learning, tested)
    ood = {f"ood_images {images.name!r}": images.images for images in ood_sets}
    overlaps = require_sets_apart({"id_images": tested, **learning.sets, **ood}, ood)
    return PreparedNetwork(network, classes, learning, trial_images, overlaps)


def first_images(images: Given, device: torch.device) -> Tensor:
    """The first images of a set, float (n, 3, H, W) in [0, 1], on the device."""
    if images.floats is not None:
        return images.floats[:TRIAL_IMAGES].to(device)
    pixels = torch.from_numpy(images.images.pixels(slice(TRIAL_IMAGES)).copy())
    return as_input(pixels.permute(0, 3, 1, 2).contiguous()).to(device)
