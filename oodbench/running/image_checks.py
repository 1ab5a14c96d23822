"""Checks that the image sets of a run fit its suite and each other: labels, classes and sizes."""

from collections.abc import Mapping, Sequence

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.suite import Suite


def check(images: Mapping[str, ImageSet], suite: Suite, detectors: Sequence[Detector]) -> None:
    """Check that the sets of a run fit its suite and each other.

    Raises:
        OodbenchError: something does not fit.
    """
    _check_test_labels(images[suite.id.test], suite, detectors)
    if suite.id.train and suite.id.train in images:
        _check_classes(images[suite.id.train], images[suite.id.test])
    for name in dict.fromkeys([suite.id.train, suite.id.test]):
        if name in images:
            _check_count(images[str(name)], suite)
    _check_different(suite, images)


def check_labels(images: ImageSet, suite: Suite) -> None:
    """Check that the labels of ID images are all there and fit the suite, or that there are none at all.

    Raises:
        OodbenchError: they do not.
    """
    if images.unlabelled:
        return
    if unknown := int((images.labels < 0).sum()):
        raise OodbenchError(
            f"ID set {images.name!r} has no label (-1) for {unknown} of its {len(images)} images: label them all, or "
            "none: without labels the accuracy of a test set is unknown, and what learns from labels cannot do so"
        )
    lowest, highest = int(images.labels.min()), int(images.labels.max())
    if highest >= suite.id.classes:
        raise OodbenchError(
            f"ID set {images.name!r} has labels from {lowest} to {highest}, but suite {suite.name!r} has "
            f"{suite.id.classes} classes: labels must run from 0 to {suite.id.classes - 1}"
        )


def _check_test_labels(images: ImageSet, suite: Suite, detectors: Sequence[Detector]) -> None:
    """Check the labels of the ID test set, which only its accuracy and detectors that are tuned on it need."""
    check_labels(images, suite)
    for detector in detectors if images.unlabelled else ():
        if (tuning := detector.tuning()) and tuning.source == "id-test" and detector.reads_labels:
            raise OodbenchError(
                f"detector {detector.name!r} is to be tuned on ID test images, and those of {images.name!r} carry no "
                "labels: tune it on images held out of training (--set tuning=heldout), or label them"
            )


def _check_count(images: ImageSet, suite: Suite) -> None:
    """Check the number of classes: if a folder is missing, every class after it has the number of another class."""
    if images.classes and len(images.classes) != suite.id.classes:
        some = ", ".join(images.classes[:12]) + (", ..." if len(images.classes) > 12 else "")
        raise OodbenchError(
            f"ID set {images.name!r} names {len(images.classes)} classes ({some}) and suite {suite.name!r} has "
            f"classes = {suite.id.classes}: labels count folders, so one that is missing or too many shifts all that "
            f"follow; pack all {suite.id.classes} folders again, or say classes = {len(images.classes)} if the network "
            "has so many"
        )


def _check_classes(train: ImageSet, test: ImageSet) -> None:
    """Check that both sets have the same classes: labels count folders, so the same label could mean two classes."""
    if train.classes and test.classes and train.classes != test.classes:
        odd = sorted({*train.classes} ^ {*test.classes}) or ["their order"]
        raise OodbenchError(
            f"ID sets {train.name!r} and {test.name!r} have other classes ({', '.join(odd[:5])}), so their labels do "
            "not mean the same: pack both from folders of the same names"
        )


def _check_different(suite: Suite, images: Mapping[str, ImageSet]) -> None:
    """Check that images have one size, and that no OOD set is the ID test set."""
    id_test = images[suite.id.test]
    for other in images.values():
        if other.images.shape[1:] != id_test.images.shape[1:]:
            sizes = [" x ".join(map(str, image_set.images.shape[1:3])) for image_set in (other, id_test)]
            raise OodbenchError(
                f"images of {other.name!r} are {sizes[0]} and those of {id_test.name!r} {sizes[1]} pixels: size alone "
                "would tell them apart; resize them to one size"
            )
    for ood in suite.tested:
        if images[ood.set].fingerprint == id_test.fingerprint:
            raise OodbenchError(
                f"OOD set {ood.set!r} and ID set {id_test.name!r} of suite {suite.name!r} are the same images: "
                "nothing could tell them apart; name another set"
            )
