"""Checks whether labels and predictions mean the same classes, in the same order."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

ENOUGH = 20
"""Labelled images below which an accuracy is not held against chance."""

LUCKY = 0.01
"""Probability with which the accuracy of mere guesses is called better than chance."""

GAIN = 0.1
"""Share of the images that another order of the classes must set right before it is reported."""

Integers = npt.NDArray[np.int64]


def doubt(labels: Integers, predictions: Integers, classes: int, names: Sequence[str] = ()) -> str:
    """The reasons why labels and predictions hardly mean the same classes; "" if they may.

    An order of the classes in which more would be right is searched on every other image, and reported if it does as
    well on the rest.

    Args:
        labels: (N,), -1 where unknown.
        predictions: (N,), -1 where no class was named, which says nothing of their order.
        classes: number of classes.
        names: of the labels, as far as they are known.
    """
    known = (labels >= 0) & (predictions >= 0)
    labels, predictions = labels[known], predictions[known]
    if len(labels) < ENOUGH:
        return ""
    right = labels == predictions
    reasons = []
    if bdtrc(right.sum() - 1, len(labels), 1 / classes) > LUCKY:
        reasons.append(f"ID accuracy {right.mean():.2%} is no better than guessing among {classes} classes")
    order = _best_order(labels[::2], predictions[::2], classes)
    rest, gained = len(labels[1::2]), (order[labels[1::2]] == predictions[1::2]).mean() - right[1::2].mean()
    if gained > max(GAIN, 3 / np.sqrt(rest)):
        moved = [label for label in np.unique(labels) if order[label] != label]
        moves = first_names([f"{_label_text(label, names)} to the network's class {order[label]}" for label in moved])
        share = (order[labels] == predictions).mean()
        reasons.append(
            f"with labels in another order about {share:.0%} would be right instead of {right.mean():.0%}: {moves}"
        )
    return "; ".join(reasons) + "; are these the classes that it was trained on, in its order?" if reasons else ""


def _best_order(labels: Integers, predictions: Integers, classes: int) -> Integers:
    """For each label the class, each class once, so that most predictions are right: (classes,)."""
    together = np.zeros((classes, classes), np.int64)
    inside = predictions < classes
    np.add.at(together, (labels[inside], predictions[inside]), 1)
    # Where it makes no difference, a label keeps its own class.
    from scipy.optimize import linear_sum_assignment  # which takes as long to import as a small run

    _, order = linear_sum_assignment(-(together * 2 * classes + np.eye(classes, dtype=np.int64)))
    return np.asarray(order, np.int64)


def _label_text(label: int, names: Sequence[str]) -> str:
    return f"label {label} ({names[label]})" if label < len(names) else f"label {label}"


def first_names(names: Sequence[str], most: int = 10) -> str:
    """The first of several names in one text."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
