"""Fitting: what detectors learn from ID images, in one pass for all over a network, and what they are tuned on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.basics.progress import Stopwatch, progress
from oodbench.basics.randomness import torch_generator
from oodbench.detector import Detector, Tuning, TuningImages
from oodbench.images.resident import IDImages, Pixels
from oodbench.networks.network import Network, Representation, as_input, batch_size
from oodbench.scoring.batches import exact
from oodbench.scoring.side_effects import unmoved, unwritten


@dataclass(frozen=True)
class FittingImages:
    """What there is to learn from, on the device.

    Attributes:
        train: ID training images.
        heldout: ID images kept out of training.
        id_test: ID test images, for methods told to tune on them.
        outliers: reserved outliers, uint8 (M, C, H, W).
    """

    train: IDImages | None = None
    heldout: IDImages | None = None
    id_test: IDImages | None = None
    outliers: Pixels | None = None


NO_IMAGES = FittingImages()


@dataclass(frozen=True)
class Fitted:
    """What came of fitting one detector.

    Attributes:
        tuned: what it was tuned on, what was tried and chosen, in JSON's types; empty where nothing was tuned.
        seconds: its own work, without the pass over training images that all share.
    """

    tuned: dict[str, Any]
    seconds: float


def fit(
    detectors: Sequence[Detector], network: Network, classes: int, shown: FittingImages = NO_IMAGES
) -> list[Fitted]:
    """Make `detectors` over one network ready to score.

    Raises:
        OodbenchError: there is nothing to learn from for a detector that must, or too little.
    """
    for detector in detectors:
        _require_labels(detector, shown)
        detector.attach(network, classes)
    observers = [detector for detector in detectors if detector.observes()]
    clocks = {detector: Stopwatch() for detector in detectors}
    fitted = []
    with exact(network):
        if observers:
            _show(observers, clocks, network, classes, shown.train)
        for detector in detectors:
            with clocks[detector], unmoved(detector.name, network):
                detector.settle()
                tuned = _tune(detector, shown)
            fitted.append(Fitted(tuned, clocks[detector].seconds))
    return fitted


def _require_labels(detector: Detector, shown: FittingImages) -> None:
    """OodbenchError where a method reads labels, and images that it learns from have none."""
    tuning = detector.tuning()
    learned = {
        "ID training images": shown.train if detector.observes() else None,
        "ID images held out": shown.heldout if tuning and tuning.source == "heldout" else None,
    }
    for what, images in learned.items() if detector.reads_labels else ():
        if images is not None and bool((images.labels < 0).any()):
            raise OodbenchError(f"{detector.name} learns from the labels of {what}, and not all have one: label them")


def _show(
    observers: Sequence[Detector],
    clocks: Mapping[Detector, Stopwatch],
    network: Network,
    classes: int,
    train: IDImages | None,
) -> None:
    names = ", ".join(detector.name for detector in observers)
    if train is None:
        raise OodbenchError(f"{names}: learns from ID training images and there are none; give the suite an [id] train")
    # Who reads no labels may learn from images of some of the network's classes.
    if len(train) < classes and (reading := [detector.name for detector in observers if detector.reads_labels]):
        raise OodbenchError(
            f"{', '.join(reading)}: there are {len(train)} ID training images for {classes} classes; give more"
        )
    batches = torch.split(torch.arange(len(train)), batch_size(train.images.device, train.images.shape[-1]))
    portions = Portions()
    with progress("fitting", len(train), passes=1) as advance, torch.no_grad():
        for pixels, labels in train.in_turn(batches):
            for representation, known in portions.each(len(pixels), partial(_seen, network, pixels, labels)):
                for detector in observers:
                    with clocks[detector], unwritten(detector.name, [known], representation):
                        detector.observe(representation, known)
            advance(len(pixels))


def _seen(network: Network, pixels: Tensor, labels: Tensor, which: slice) -> tuple[Representation, Tensor]:
    return network.represent(as_input(pixels[which])), labels[which]


def _tune(detector: Detector, shown: FittingImages) -> dict[str, Any]:
    wanted = detector.tuning()
    if wanted is None:
        return {}
    images = _tuning_images(detector.name, wanted, shown)
    about = {"source": wanted.source, "id_images": len(images.id), "outliers": len(images.outliers)}
    return {**about, **detector.tune(images)}


def _tuning_images(name: str, wanted: Tuning, shown: FittingImages) -> TuningImages:
    found = {"heldout": shown.heldout, "id-test": shown.id_test}[wanted.source]
    if found is None:
        raise OodbenchError(
            f"{name} is tuned on ID images held out of training and there are none: give the suite [id] heldout = N, "
            "or in Python heldout="
        )
    order = torch.randperm(len(found), generator=torch_generator("tuning"))[: wanted.images]
    chosen, labels = found.images[order], found.labels[order]
    if not wanted.outliers:
        return TuningImages(chosen, labels, chosen[:0])
    if shown.outliers is None or not len(shown.outliers):
        raise OodbenchError(
            f"{name} is tuned on reserved outliers and there are none: give the suite [outliers] reserved = N, or in "
            "Python outliers="
        )
    return TuningImages(chosen, labels, shown.outliers[: wanted.images])
