"""Image sets that detectors may learn from, beside a network that somebody gives."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from oodbench.images.imageset import ImageSet
from oodbench.images.resident import IDImages, resident
from oodbench.scoring.fitting import FittingImages


@dataclass(frozen=True)
class LearningImages:
    """Images that detectors may learn from; None where there are none.

    Attributes:
        train: ID images that the network was trained on, with labels.
        heldout: ID images that it was not trained on, for methods that tune themselves.
        outliers: OOD images that are no test images, for methods that tune themselves on these, too.
    """

    train: ImageSet | None = None
    heldout: ImageSet | None = None
    outliers: ImageSet | None = None

    @property
    def sets(self) -> Mapping[str, ImageSet | None]:
        """The image sets by the names that messages give them."""
        return {"train": self.train, "heldout": self.heldout, "outliers": self.outliers}

    @property
    def id_sets(self) -> Mapping[str, ImageSet | None]:
        """The ID image sets among them, which may have labels."""
        return {"train": self.train, "heldout": self.heldout}

    def on(self, device: torch.device) -> FittingImages:
        """The same images on the device."""

        def to_device(images: ImageSet | None) -> IDImages | None:
            return resident(images, device) if images is not None else None

        # Methods take the first outliers, and a folder holds one kind of image after the other.
        outliers = to_device(self.outliers.shuffled() if self.outliers is not None else None)
        return FittingImages(
            to_device(self.train), to_device(self.heldout), None, outliers.images if outliers is not None else None
        )
