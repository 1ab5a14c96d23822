"""Outputs of a network that are no ID classes, such as a reject class: detectors must not take them for ID classes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.headless import Headless
from oodbench.networks.network import Network, Representation
from oodbench.scoring.batches import exact

TRIED = 4
"""Images that are enough to tell."""

FURTHER = 30.0
"""By how much other outputs are moved to see whether a score follows them."""


def require_reject_outputs(detectors: Sequence[Detector], network: Network, classes: int, images: Tensor) -> None:
    """OodbenchError for a detector that trains reject outputs, on a network that has not as many.

    Args:
        detectors: fitted or not.
        network: over which they are.
        classes: of ID images, its first outputs.
        images: a few, float (N, 3, H, W).
    """
    rejecting = [one for one in detectors if one.objective().reject_outputs]
    found = _represented(network, images) if rejecting else None
    for one in rejecting:
        more = one.objective().reject_outputs
        if found is None or found.logits.shape[1] != classes + more:
            raise OodbenchError(
                f"{one.name} needs a network with {classes + more} outputs, the {classes} ID classes and {more} more, "
                "which it trains itself: `oodbench run` does that"
            )


def require_class_outputs(detectors: Sequence[Detector], network: Network, classes: int, images: Tensor) -> None:
    """OodbenchError for a detector that takes outputs for ID classes which are none.

    Args:
        detectors: fitted.
        network: over which they are.
        classes: of ID images, its first outputs.
        images: a few, float (N, 3, H, W).
    """
    found = _represented(network, images)
    if found is None or found.logits.shape[1] <= classes:
        return
    for one in detectors:
        if not one.objective().reject_outputs and _follows_others(one, found, classes):
            raise OodbenchError(
                f"{one.name} takes all {found.logits.shape[1]} outputs of the network for ID classes, and there are "
                f"{classes}: give it a network that returns these alone"
            )


def _represented(network: Network, images: Tensor) -> Representation | None:
    """What the network makes of images; None where it has no logits to tell."""
    with exact(network), torch.no_grad():
        found = network.represent(images)
    return None if isinstance(found, Headless) else found


def _follows_others(detector: Detector, found: Representation, classes: int) -> bool:
    """Its score moves with outputs that are no ID classes; False where it scores no representations."""
    logits = found.logits.clone()
    logits[:, classes:] += FURTHER
    try:
        with exact(detector.network), torch.no_grad():
            before, after = (
                detector.score_representation(found._replace(logits=one)) for one in (found.logits, logits)
            )
    except TypeError:  # it makes passes of its own
        return False
    return not torch.equal(before, after)
