"""The arguments of `benchmark` and `fit`: a user's network and images, described in the same words for both."""

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.network import Network
from oodbench.networks.of_module import wrap_module
from oodbench.networks.wrapping import Wrapping
from oodbench.scoring.learning_images import LearningImages
from oodbench.scoring.user_input import Given, as_given
from oodbench.sources.handed import take_images
from oodbench.tasks import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class OnModule(Wrapping):
    """A network, and what detectors on it may learn from.

    Attributes:
        train: ID images that the network was trained on, with labels, for detectors that learn from them.
        heldout: ID images that the network was not trained on, for detectors that tune themselves.
        outliers: OOD images that are no test images, for detectors that tune themselves on these, too.
        classes: the network's first outputs, which are ID classes; all of them if left out.
        device: where the network and the images are put.
        plugins: files that define detectors.
    """

    train: Any = None
    heldout: Any = None
    outliers: Any = None
    classes: int | None = None
    device: str = "cpu"
    plugins: Sequence[str | Path] = ()

    @property
    def plugin_files(self) -> list[Path]:
        """Files that define detectors."""
        return [Path(plugin) for plugin in self.plugins]

    def read_images(self, images: Any, what: str, name: str, labelled: bool = True) -> Given:
        """Read the images of one set, whatever holds them; `what` names them in messages, OOD images need no labels.

        Raises:
            OodbenchError: the images are not of a kind that can be read.
        """
        return _read_images(images, what, name, self.preprocessing, labelled)

    def learning_images(self) -> LearningImages:
        """Read the images that there are to learn from.

        Raises:
            OodbenchError: the images are not of a kind that can be read.
        """

        def read(images: Any, name: str, labelled: bool = True) -> ImageSet | None:
            return None if images is None else self.read_images(images, name, name, labelled).images

        outliers = read(self.outliers, "outliers", labelled=False)
        return LearningImages(read(self.train, "train"), read(self.heldout, "heldout"), outliers)

    def wrap_network(self, network: nn.Module, trial_images: Tensor) -> Network:
        """The module as a network, on the device of the images that it is tried on.

        Raises:
            OodbenchError: it cannot be used, see `oodbench.networks.of_module.ModuleNetwork`.
        """
        return wrap_module(network, trial_images, self)


def _read_images(
    images: Any, what: str, name: str, preprocessing: Preprocessing | None, labelled: bool = True
) -> Given:
    """Read the images of one set, with their labels if there are any; arguments as `take_images` has them.

    Raises:
        OodbenchError: the images are not of a kind that can be read.
    """
    if not isinstance(preprocessing, Preprocessing | None):
        raise OodbenchError(
            f"preprocessing is {preprocessing!r}: give a Preprocessing of oodbench.images.preprocessing, which says "
            "how image files become the network's input"
        )
    found = take_images(images, what, name, preprocessing, labelled)
    given = as_given(found.images, what, name, "mean= and std= say")
    if preprocessing and found.numbers:
        warnings.warn(
            f"{what} came as tensors or arrays, so preprocessing ({preprocessing}) is not applied to them, only to "
            "image files and Pillow images: give these, or be sure that the same was done to what you give",
            OodbenchWarning,
            stacklevel=2,
        )
    if found.labels is None:
        return given
    return replace(given, images=replace(given.images, labels=np.asarray(found.labels, np.int64)))


@dataclass(frozen=True, eq=False)
class BenchmarkConfig(OnModule):
    """What detectors are held against.

    Attributes:
        network: any module in evaluation mode that maps images to logits, see
            `oodbench.networks.of_module.ModuleNetwork`.
        id_images: test images of the classes that the network knows.
        ood_images: of others; or several sets by name.
        detectors: by name, or made with parameters of their own; "all" for every one that needs no training of its
            own. Of those, what cannot be fitted is left out and named in a warning; else that is an error.
        attack: see `evaluate`; what is attacked is each detector's own score.
        epsilon: see `evaluate`.
        convention: of the metrics: "default", "published" or "openood".
        intervals: give 95 % intervals over images, see `oodbench.statistics.intervals`.
        seed: of attacks and corruptions.
    """

    network: nn.Module
    id_images: Any
    ood_images: Any
    _: KW_ONLY
    detectors: str | Detector | Sequence[str | Detector] = "all"
    attack: str | Task | None = None
    epsilon: int | None = None
    convention: str = "default"
    intervals: bool = False
    seed: int = 1


@dataclass(frozen=True, eq=False)
class FitConfig(OnModule):
    """What a detector that goes to work is made of.

    Attributes:
        network: any module in evaluation mode that maps images to logits, see
            `oodbench.networks.of_module.ModuleNetwork`.
        detector: by name, or made with parameters of its own.
        calibrate: ID images that neither network nor detector has seen, for thresholds and p-values; `heldout` serves
            where it is left out and the detector does not tune itself on that.
        images: some of the size that the network takes, where the detector learns from none.
    """

    network: nn.Module
    detector: str | Detector
    _: KW_ONLY
    calibrate: Any = None
    images: Any = None
