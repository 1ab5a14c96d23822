"""Checks that labels mean what the network takes them to mean, and warnings where that cannot be checked.

A label is a number. If a folder is missing, or folders are in another order, all labels after it are shifted: accuracy
falls, and so does whatever is learned or tuned from labels, while no number looks broken.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.images.builtin import BUILTINS
from oodbench.images.imageset import ImageSet
from oodbench.running.imagesets import ImageSets
from oodbench.running.network_provenance import metadata
from oodbench.sources.catalogue import SOURCES
from oodbench.statistics.label_order import first_names
from oodbench.suite import Suite

CLASSES = "classes"
"""Key of the names of the classes in the metadata of a network that was trained here, as JSON."""

FALLEN = 0.01
"""How far the accuracy of a kept network may fall without a warning, in [0, 1]; machines round differently."""


def class_names_metadata(train: ImageSet) -> dict[str, str]:
    """The metadata of a network that say which classes it was trained on."""
    return {CLASSES: json.dumps(train.classes)} if train.classes else {}


def class_names_in(file: Path) -> tuple[str, ...]:
    """The names of a network's classes, in the order of its outputs; none where its file does not have them."""
    try:
        names = json.loads(metadata(file).get(CLASSES, "[]"))
    except ValueError:
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def check_against_file(test: ImageSet, file: Path) -> None:
    """Refuse an ID test set whose classes are not those that the network's file names.

    Raises:
        OodbenchError: the classes are others, or in another order.
    """
    known = class_names_in(file)
    if known and test.classes and known != test.classes:
        odd = sorted({*known} ^ {*test.classes})
        raise OodbenchError(
            f"{file} was trained on other classes than ID set {test.name!r} has "
            f"({first_names(odd or ['their order'])}), so labels do not mean the same: the network's are, in their "
            f"order, {first_names(known)}; pack the test set from folders of these names"
        )


def unchecked_labels_text(suite: Suite, image_sets: ImageSets, given: Path | None) -> str:
    """Say that nothing could check the labels that an ID accuracy rests on.

    Args:
        suite: that is run.
        image_sets: its images.
        given: file of the network, if it was not trained here.

    Returns:
        "" where the names of classes were compared, the set is a known one, or it has no labels.
    """
    test = image_sets.images[suite.id.test]
    heldout = test.name == f"{suite.id.train}-heldout"
    if heldout and given is None:
        return ""  # the network learned from other images of the same set
    origin = suite.id.train if heldout else test.name
    if test.unlabelled or origin in BUILTINS or origin in SOURCES:
        return ""
    train = image_sets.images.get(str(suite.id.train))
    known = class_names_in(given) if given else train.classes if train else ()
    if known and test.classes:
        return ""
    of_test = f"0 to {suite.id.classes - 1}"
    of_test += f" in the order {first_names(test.classes)}" if test.classes else ", whose names its pack does not say"
    other = f"checkpoint {given.name}" if given else f"training set {suite.id.train}"
    return (
        f"ID accuracy rests on the labels of {test.name}, {of_test}: {other} does not say the names of its classes, so "
        "nothing could check that they are the same"
    )


def accuracy_fall_text(network: str, known: Mapping[str, float], test: str, right: float) -> str:
    """Say that a kept network is right less often than when it was kept; "" if it is not, or nobody knows.

    Args:
        network: its name.
        known: its accuracies when it was kept, by ID test set.
        test: name of the ID test set.
        right: the share of its labelled images that the network is right on now.
    """
    if not known.get(test, 0.0) - right > FALLEN:
        return ""
    return (
        f"{network} was right on {known[test]:.2%} of {test} when it was kept, and is on {right:.2%}: are these the "
        "same images, and labels in the same order?"
    )
