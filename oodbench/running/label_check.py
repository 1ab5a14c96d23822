"""Do labels mean what the network thinks they mean? What can be checked of that, and what has to be said instead.

A label is a number. A folder that is missing, or folders in another order, shift all that follow: accuracy falls, and
with it whatever is learned or tuned from labels, while no number looks broken.
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
from oodbench.statistics.label_order import some
from oodbench.suite import Suite

CLASSES = "classes"
"""What the file of a network that was trained here says of its classes: their names, JSON."""

FALLEN = 0.01
"""How much less often than before a kept network may be right without a word; machines round differently."""


def names_for_file(train: ImageSet) -> dict[str, str]:
    """What the metadata of a network says of the classes that it was trained on."""
    return {CLASSES: json.dumps(train.classes)} if train.classes else {}


def names_in_file(file: Path) -> tuple[str, ...]:
    """The names of a network's classes, in the order of its outputs; none where its file does not say them."""
    try:
        found = json.loads(metadata(file).get(CLASSES, "[]"))
    except ValueError:
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def check_against_file(test: ImageSet, file: Path) -> None:
    """The classes of the ID test set are those that the network says it knows.

    Raises:
        OodbenchError: they are others, or in another order.
    """
    known = names_in_file(file)
    if known and test.classes and known != test.classes:
        odd = sorted({*known} ^ {*test.classes})
        raise OodbenchError(
            f"{file} was trained on other classes than ID set {test.name!r} has ({some(odd or ['their order'])}), so "
            f"labels do not mean the same: the network's are, in their order, {some(known)}; pack the test set from "
            "folders of these names"
        )


def unchecked(suite: Suite, image_sets: ImageSets, given: Path | None) -> str:
    """What an ID accuracy rests on and nothing could check; "" where names were compared, or the set is a known one.

    Args:
        suite: that is run.
        image_sets: its images.
        given: file of the network, if it was not trained here.
    """
    test = image_sets.images[suite.id.test]
    if test.unlabelled or test.name in BUILTINS or test.name in SOURCES:
        return ""
    train = image_sets.images.get(str(suite.id.train))
    known = names_in_file(given) if given else train.classes if train else ()
    if known and test.classes:
        return ""
    of_test = f"0 to {suite.id.classes - 1}"
    of_test += f" in the order {some(test.classes)}" if test.classes else ", whose names its pack does not say"
    other = f"checkpoint {given.name}" if given else f"training set {suite.id.train}"
    return (
        f"ID accuracy rests on the labels of {test.name}, {of_test}: {other} does not say the names of its classes, so "
        "nothing could check that they are the same"
    )


def fallen(network: str, known: Mapping[str, float], test: str, right: float) -> str:
    """That a kept network is right less often than when it was kept; "" if it is not, or nobody knows.

    Args:
        network: its name.
        known: its accuracies by ID test set.
        test: the ID test set.
        right: the share of its labelled images that are recognised.
    """
    if not known.get(test, 0.0) - right > FALLEN:
        return ""
    return (
        f"{network} was right on {known[test]:.2%} of {test} when it was kept, and is on {right:.2%}: are these the "
        "same images, and labels in the same order?"
    )
