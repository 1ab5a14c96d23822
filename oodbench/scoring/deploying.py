"""Fitting a detector that goes to work: on somebody's network, from images at hand."""

from typing import Any

import torch

from oodbench.detector import Detector
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.network import Network
from oodbench.scoring.benchmarking import Learned
from oodbench.scoring.deployed import DeployedDetector, Input, scores_of
from oodbench.scoring.fitting import fit
from oodbench.scoring.other_outputs import require_class_outputs, require_reject_outputs
from oodbench.scoring.user_input import Given


def fitted(
    detector: Detector,
    network: Network,
    classes: int,
    learned: Learned,
    images: torch.Tensor,
    preprocessing: Preprocessing | None,
    calibrate: Given | None = None,
) -> DeployedDetector:
    """A detector fitted on `network`.

    Args:
        detector: to be fitted.
        network: on its device.
        classes: of ID images, its first outputs.
        learned: what there is to learn from.
        images: of the size that the network takes, float (N, 3, H, W).
        preprocessing: of image files.
        calibrate: ID images for thresholds and p-values, which neither network nor detector has seen; if left out,
            the held-out ones, unless the detector tunes itself on these.

    Raises:
        OodbenchError: it cannot be fitted.
    """
    require_reject_outputs([detector], network, classes, images)
    (outcome,) = fit([detector], network, classes, learned.on(images.device))
    require_class_outputs([detector], network, classes, images)
    sets = {"train": learned.train, "heldout": learned.heldout, "outliers": learned.outliers}
    if calibrate is None and learned.heldout is not None and not tunes_on_heldout(detector):
        calibrate = Given(learned.heldout)
    sets["calibration"] = calibrate.images if calibrate else None
    about: dict[str, Any] = {
        name: {"images": len(one), "fingerprint": one.fingerprint} for name, one in sets.items() if one
    }
    height, width = images.shape[2:]
    return DeployedDetector(
        detector,
        Input.of(network, (height, width), preprocessing),
        about | {"tuned": outcome.tuned},
        scores_of(detector, calibrate) if calibrate else None,
    )


def tunes_on_heldout(detector: Detector) -> bool:
    """It looks at held-out ID images while it is fitted, so that they no longer tell what it does on new ones."""
    tuning = detector.tuning()
    return tuning is not None and tuning.source == "heldout"
