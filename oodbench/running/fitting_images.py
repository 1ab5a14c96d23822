"""The images of a plan that the detectors over a network may learn from."""

from collections.abc import Sequence

import torch

from oodbench.detector import Detector
from oodbench.images.resident import Pixels, resident
from oodbench.running.plan import SuitePlan
from oodbench.scoring.fitting import FittingImages


def fitting_images(plan: SuitePlan, detectors: Sequence[Detector], device: torch.device) -> FittingImages:
    """The images that `detectors` may learn from; only what they ask for goes to the device."""
    tunings = [tuning for detector in detectors if (tuning := detector.tuning())]
    sources = {tuning.source for tuning in tunings}
    train, heldout = plan.suite.id.train, plan.image_sets.heldout
    wants_train = any(detector.observes() for detector in detectors)
    return FittingImages(
        train=resident(plan.images[train], device) if train and wants_train else None,
        heldout=resident(heldout, device) if heldout and "heldout" in sources else None,
        id_test=resident(plan.images[plan.suite.id.test], device) if "id-test" in sources else None,
        outliers=_reserved_outliers(plan, device) if any(tuning.outliers for tuning in tunings) else None,
    )


def _reserved_outliers(plan: SuitePlan, device: torch.device) -> Pixels | None:
    outliers = plan.suite.outliers
    if outliers is None:
        return None
    return resident(plan.images[outliers.set].first(outliers.reserved), device).images
