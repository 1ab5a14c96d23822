"""Fits a detector that goes to work, on a user's network and images."""

from collections.abc import Mapping
from typing import Any

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.registry import Registry
from oodbench.scoring.benchmarking import select_detectors
from oodbench.scoring.deployed import DeployedDetector, Input, scores_of
from oodbench.scoring.fitting import fit
from oodbench.scoring.given_sets import require_unseen
from oodbench.scoring.learning_images import LearningImages
from oodbench.scoring.on_module import FitConfig
from oodbench.scoring.other_outputs import require_class_outputs, require_reject_outputs
from oodbench.scoring.prepared_network import PreparedNetwork, prepare_network
from oodbench.scoring.user_input import Given, require_one_size

GIVEN_SETS = ("train", "heldout", "outliers", "calibrate", "images")
"""Fields of `FitConfig` that hold images."""


def select_detector(detector: str | Detector, registry: Registry) -> Detector:
    """The one detector that a caller names or gives.

    Raises:
        OodbenchError: it is not known, or it is not one.
    """
    selected = select_detectors(detector, registry)
    if len(selected) != 1:
        raise OodbenchError("one detector goes to work: name it, instead of 'all'")
    return selected[0]


def read_sets(config: FitConfig) -> dict[str, Given]:
    """Read all images that are given, by the name of their field.

    Raises:
        OodbenchError: there are none, they are not of a kind that can be read, or they are of several sizes.
    """
    sets = {
        name: config.read_images(images, name, name, labelled=name != "outliers")
        for name in GIVEN_SETS
        if (images := getattr(config, name)) is not None
    }
    if not sets:
        raise OodbenchError("there are no images: give train, or images=, a few of the size that the network takes")
    require_one_size(list(sets.values()))
    return sets


def prepare(config: FitConfig, detector: Detector, sets: Mapping[str, Given], device: torch.device) -> PreparedNetwork:
    """Prepare the network for one detector, and require that the images to calibrate on have not been learned from.

    Raises:
        OodbenchError: as `prepare_network`, or images to calibrate on are among those to learn from.
    """
    learned_sets = {name: given.images for name, given in sets.items() if name in ("train", "heldout", "outliers")}
    learning = LearningImages(**learned_sets)
    prepared = prepare_network(config, learning, next(iter(sets.values())), device)
    if calibrate := sets.get("calibrate"):
        unused = {} if tunes_on_heldout(detector) else {"heldout": None}
        require_unseen(calibrate.images, "calibrate", {**learning.sets, **unused})
    return prepared


def fit_deployed(
    detector: Detector, prepared: PreparedNetwork, config: FitConfig, calibrate: Given | None = None
) -> DeployedDetector:
    """Fit a detector on a prepared network.

    Args:
        detector: to be fitted.
        prepared: the network and the images to learn from.
        config: gives the preprocessing of image files.
        calibrate: ID images for thresholds and p-values, which neither network nor detector has seen; if left out,
            the held-out ones, unless the detector tunes itself on these.

    Raises:
        OodbenchError: the detector cannot be fitted.
    """
    network, classes, trial_images = prepared.network, prepared.classes, prepared.trial_images
    require_reject_outputs([detector], network, classes, trial_images)
    (outcome,) = fit([detector], network, classes, prepared.learning.on(prepared.device))
    require_class_outputs([detector], network, classes, trial_images)
    heldout = prepared.learning.heldout
    if calibrate is None and heldout is not None and not tunes_on_heldout(detector):
        calibrate = Given(heldout)
    sets = {**prepared.learning.sets, "calibration": calibrate.images if calibrate else None}
    about: dict[str, Any] = {
        name: {"images": len(image_set), "fingerprint": image_set.fingerprint}
        for name, image_set in sets.items()
        if image_set
    }
    height, width = trial_images.shape[2:]
    return DeployedDetector(
        detector,
        Input.of(network, (height, width), config.preprocessing),
        about | {"tuned": outcome.tuned},
        scores_of(detector, calibrate) if calibrate else None,
    )


def tunes_on_heldout(detector: Detector) -> bool:
    """True where the detector tunes itself on held-out ID images, so that they are no longer new to it."""
    tuning = detector.tuning()
    return tuning is not None and tuning.source == "heldout"
