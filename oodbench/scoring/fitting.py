"""Fits detectors: they learn from ID images, in one pass for all over a network, and are then tuned."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from oodbench.networks.network import MissingPartError, Network, Representation, as_input, batch_size
from oodbench.scoring.batches import exact
from oodbench.scoring.side_effects import forbid_network_changes, forbid_writing


@dataclass(frozen=True)
class FittingImages:
    """The images that detectors may learn from, on the device.

    Attributes:
        train: ID training images.
        heldout: ID images kept out of training.
        id_test: ID test images, for methods that are set to tune on them.
        outliers: reserved outliers, uint8 (M, C, H, W).
    """

    train: IDImages | None = None
    heldout: IDImages | None = None
    id_test: IDImages | None = None
    outliers: Pixels | None = None


NO_IMAGES = FittingImages()


@dataclass(frozen=True)
class Fitted:
    """The outcome of fitting one detector.

    Attributes:
        tuned: the images it was tuned on, the values tried and chosen, in JSON's types; empty where nothing was tuned.
        seconds: of its own work, without the pass over training images that all share.
    """

    tuned: dict[str, Any]
    seconds: float


def fit(
    detectors: Sequence[Detector], network: Network, classes: int, shown: FittingImages = NO_IMAGES
) -> list[Fitted]:
    """Fit `detectors` over one network, so that they are ready to score.

    Raises:
        OodbenchError: a detector must learn from images, and there are none or too few; or it needs a part that the
            network does not have.
    """
    for detector in detectors:
        _require_labels(detector, shown)
        with _named(detector):
            detector.attach(network, classes)
    observers = [detector for detector in detectors if detector.observes()]
    clocks = {detector: Stopwatch() for detector in detectors}
    fitted = []
    with exact(network):
        if observers:
            _show_training_images(observers, clocks, network, classes, shown.train)
        for detector in detectors:
            with clocks[detector], forbid_network_changes(detector.name, network), _named(detector):
                detector.settle()
                tuned = _tune(detector, shown)
            fitted.append(Fitted(tuned, clocks[detector].seconds))
    return fitted


@contextmanager
def _named(detector: Detector) -> Iterator[None]:
    """Inside, an error about a part that the network does not have names the detector that needs it."""
    try:
        yield
    except MissingPartError as error:
        raise error.of(detector.name) from error


def _require_labels(detector: Detector, shown: FittingImages) -> None:
    """Raise OodbenchError where a method reads labels, and images that it learns from have none."""
    tuning = detector.tuning()
    learned_from = {
        "ID training images": shown.train if detector.observes() else None,
        "ID images held out": shown.heldout if tuning and tuning.source == "heldout" else None,
    }
    for what, images in learned_from.items() if detector.reads_labels else ():
        if images is not None and bool((images.labels < 0).any()):
            raise OodbenchError(f"{detector.name} learns from the labels of {what}, and not all have one: label them")


def _show_training_images(
    observers: Sequence[Detector],
    clocks: Mapping[Detector, Stopwatch],
    network: Network,
    classes: int,
    train: IDImages | None,
) -> None:
    """Let the observers learn from all training images, in one pass through the network."""
    names = ", ".join(detector.name for detector in observers)
    if train is None:
        raise OodbenchError(
            f"{names}: learns from ID training images and there are none: give the suite an [id] train, or in Python "
            "train="
        )
    # A method that reads no labels may learn from images of some of the network's classes.
    if len(train) < classes and (reading := [detector.name for detector in observers if detector.reads_labels]):
        raise OodbenchError(
            f"{', '.join(reading)}: there are {len(train)} ID training images for {classes} classes; give more"
        )
    batches = torch.split(torch.arange(len(train)), batch_size(train.images.device, train.images.shape[-1]))
    portions = Portions()
    with progress("fitting", len(train), passes=1) as advance, torch.no_grad():
        for pixels, labels in train.in_turn(batches):
            for representation, part_labels in portions.each(
                len(pixels), partial(_represent_part, network, pixels, labels)
            ):
                for detector in observers:
                    with (
                        clocks[detector],
                        forbid_writing(detector.name, [part_labels], representation),
                        _named(detector),
                    ):
                        detector.observe(representation, part_labels)
            advance(len(pixels))


def _represent_part(network: Network, pixels: Tensor, labels: Tensor, rows: slice) -> tuple[Representation, Tensor]:
    return network.represent(as_input(pixels[rows])), labels[rows]


def _tune(detector: Detector, shown: FittingImages) -> dict[str, Any]:
    tuning = detector.tuning()
    if tuning is None:
        return {}
    images = _tuning_images(detector.name, tuning, shown)
    about = {"source": tuning.source, "id_images": len(images.id), "outliers": len(images.outliers)}
    return {**about, **detector.tune(images)}


def _tuning_images(name: str, tuning: Tuning, shown: FittingImages) -> TuningImages:
    source = {"heldout": shown.heldout, "id-test": shown.id_test}[tuning.source]
    if source is None:
        raise OodbenchError(
            f"{name} is tuned on ID images held out of training and there are none: give the suite [id] heldout = N, "
            "or in Python heldout="
        )
    order = torch.randperm(len(source), generator=torch_generator("tuning"))[: tuning.images]
    chosen, labels = source.images[order], source.labels[order]
    if not tuning.outliers:
        return TuningImages(chosen, labels, chosen[:0])
    if shown.outliers is None or not len(shown.outliers):
        raise OodbenchError(
            f"{name} is tuned on reserved outliers and there are none: give the suite [outliers] reserved = N, or in "
            "Python outliers="
        )
    return TuningImages(chosen, labels, shown.outliers[: tuning.images])
