"""Do labels mean what the network thinks they mean? What can be checked of that, and what has to be said instead.

A label is a number. A folder that is missing, or folders in another order, shift all that follow: accuracy falls, and
with it whatever is learned or tuned from labels, while no number looks broken.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from oodbench.basics.errors import OodbenchError
from oodbench.images.builtin import BUILTINS
from oodbench.images.imageset import ImageSet
from oodbench.running.imagesets import ImageSets
from oodbench.running.network_provenance import metadata
from oodbench.sources.catalogue import SOURCES
from oodbench.suite import Suite

CLASSES = "classes"
"""What the file of a network that was trained here says of its classes: their names, JSON."""

ENOUGH = 20
"""Labelled images below which an accuracy is not held against chance."""

LUCKY = 0.01
"""Who guesses has an accuracy that is not called better than chance with all but this probability."""

GAIN = 0.1
"""Share of the images that another order of the classes must set right before it is spoken of."""

FALLEN = 0.01
"""How much less often than before a kept network may be right without a word; machines round differently."""

Integers = npt.NDArray[np.int64]


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
            f"{file} was trained on other classes than ID set {test.name!r} has ({_some(odd or ['their order'])}), so "
            f"labels do not mean the same: the network's are, in their order, {_some(known)}; pack the test set from "
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
    of_test += f" in the order {_some(test.classes)}" if test.classes else ", whose names its pack does not say"
    other = f"checkpoint {given.name}" if given else f"training set {suite.id.train}"
    return (
        f"ID accuracy rests on the labels of {test.name}, {of_test}: {other} does not say the names of its classes, so "
        "nothing could check that they are the same"
    )


def doubt(labels: Integers, predictions: Integers, classes: int, names: Sequence[str] = ()) -> str:
    """Why labels and predictions hardly speak of the same classes; "" if they may.

    An order of the classes in which more would be right is looked for in every other image, and believed if it does as
    well in the rest.

    Args:
        labels: (N,), -1 where unknown.
        predictions: (N,).
        classes: how many there are.
        names: of the labels, as far as they are known.
    """
    known = labels >= 0
    labels, predictions = labels[known], predictions[known]
    if len(labels) < ENOUGH:
        return ""
    right = labels == predictions
    said = []
    if bdtrc(right.sum() - 1, len(labels), 1 / classes) > LUCKY:
        said.append(f"ID accuracy {right.mean():.2%} is no better than guessing among {classes} classes")
    order = _best_order(labels[::2], predictions[::2], classes)
    rest, gained = len(labels[1::2]), (order[labels[1::2]] == predictions[1::2]).mean() - right[1::2].mean()
    if gained > max(GAIN, 3 / np.sqrt(rest)):
        moved = [label for label in np.unique(labels) if order[label] != label]
        each = _some([f"{_called(label, names)} to the network's class {order[label]}" for label in moved])
        share = (order[labels] == predictions).mean()
        said.append(
            f"with labels in another order about {share:.0%} would be right instead of {right.mean():.0%}: {each}"
        )
    return "; ".join(said) + "; are these the classes that it was trained on, in its order?" if said else ""


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


def _best_order(labels: Integers, predictions: Integers, classes: int) -> Integers:
    """For each label the class that makes most predictions right, no class twice: (classes,)."""
    together = np.zeros((classes, classes), np.int64)
    inside = predictions < classes
    np.add.at(together, (labels[inside], predictions[inside]), 1)
    # Where it makes no difference, a label keeps its own class.
    from scipy.optimize import linear_sum_assignment  # which takes as long to import as a small run

    _, found = linear_sum_assignment(-(together * 2 * classes + np.eye(classes, dtype=np.int64)))
    return np.asarray(found, np.int64)


def _called(label: int, names: Sequence[str]) -> str:
    return f"label {label} ({names[label]})" if label < len(names) else f"label {label}"


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
