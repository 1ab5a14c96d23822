"""Refuses detectors that take outputs that are no ID classes, such as a reject class, for ID classes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.headless import Headless
from oodbench.networks.network import Network, Representation
from oodbench.scoring.batches import exact

TRIAL_IMAGES = 4
"""Images on which a detector is tried."""

SHIFT = 30.0
"""By how much other outputs are moved to see whether a score follows them."""


def require_reject_outputs(detectors: Sequence[Detector], network: Network, classes: int, images: Tensor) -> None:
    """Raise OodbenchError for a detector that trains reject outputs, on a network with another number of them.

    Args:
        detectors: fitted or not.
        network: under the detectors.
        classes: of ID images, its first outputs.
        images: a few, float (N, 3, H, W).
    """
    rejecting = [detector for detector in detectors if detector.objective().reject_outputs]
    representation = _representation(network, images) if rejecting else None
    for detector in rejecting:
        more = detector.objective().reject_outputs
        if representation is None or representation.logits.shape[1] != classes + more:
            raise OodbenchError(
                f"{detector.name} needs a network with {classes + more} outputs, the {classes} ID classes and {more} "
                "more, which it trains itself: `oodbench run` does that"
            )


def require_class_outputs(detectors: Sequence[Detector], network: Network, classes: int, images: Tensor) -> None:
    """Raise OodbenchError for a detector that takes outputs for ID classes that are something else.

    Args:
        detectors: fitted.
        network: under the detectors.
        classes: of ID images, its first outputs.
        images: a few, float (N, 3, H, W).
    """
    representation = _representation(network, images)
    if representation is None or representation.logits.shape[1] <= classes:
        return
    for detector in detectors:
        if not detector.objective().reject_outputs and _follows_other_outputs(detector, representation, classes):
            raise OodbenchError(
                f"{detector.name} takes all {representation.logits.shape[1]} outputs of the network for ID classes, and"
                f" there are {classes}: give it a network that returns these alone"
            )


def _representation(network: Network, images: Tensor) -> Representation | None:
    """The representation of images; None where the network has no logits."""
    with exact(network), torch.no_grad():
        representation = network.represent(images)
    return None if isinstance(representation, Headless) else representation


def _follows_other_outputs(detector: Detector, representation: Representation, classes: int) -> bool:
    """True where the score changes with outputs that are no ID classes; False where it scores no representations."""
    moved = representation.logits.clone()
    moved[:, classes:] += SHIFT
    try:
        with exact(detector.network), torch.no_grad():
            before, after = (
                detector.score_representation(representation._replace(logits=logits))
                for logits in (representation.logits, moved)
            )
    except TypeError:  # it makes passes of its own
        return False
    return not torch.equal(before, after)
