"""What is attacked: a detector over its kept network, images of an OOD set, and how attacked images are scored."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import LinfBall
from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.tensors import channels_first, channels_first_view
from oodbench.metrics import auroc, curve
from oodbench.networks.network import as_input
from oodbench.running.config import RunConfig
from oodbench.running.fitting_images import fitting_images
from oodbench.running.plan import SuitePlan
from oodbench.running.prepared import prepared
from oodbench.running.request import Machinery
from oodbench.running.train_or_load import provide
from oodbench.scoring.attacking import aim
from oodbench.scoring.batches import ImageBatch, Purpose, exact
from oodbench.scoring.clean import score_batch, score_versions
from oodbench.scoring.fitting import fit
from oodbench.tasks import LinfAdaptive
from oodbench.tasks.versions import Versions

SEED = 1
"""Of the kept networks, and of attacks."""

TASK = "linf-adaptive"

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A detector and what attacks on it need.

    Attributes:
        suite: its name.
        detector: fitted, over its kept network.
        task: the adaptive tier at its level "standard", in the suite's ball.
        id_images: ID test images.
        id_scores: theirs (M,), clean.
        lures: (K, C, H, W), of each class that the network predicts the ID image with the highest score.
        images: the OOD images, chosen as `oodbench run --images N` chooses them.
        donors: other detectors over kept networks, not fitted for scoring sets: what is attacked in their place.
    """

    suite: str
    detector: Detector
    task: LinfAdaptive
    id_images: ImageSet
    id_scores: Scores
    lures: Tensor
    images: ImageSet
    donors: tuple[Detector, ...] = ()

    @property
    def purpose(self) -> Purpose:
        """The same as in a run, so that the tier draws the same numbers."""
        return Purpose(SEED, self.images.name)

    def goal(self, level: str) -> Goal:
        """As a run aims the tier at a level: an image may stop where it has passed enough of the ID images."""
        device = self.lures.device
        return aim(self.detector, replace(self.task, level=level), self.id_images, self.id_scores, device)

    def above(self, scores: Scores) -> Scores:
        """Share of the ID scores above each score, ties counting half: its part in the AUROC, (N,)."""
        return np.array([auroc(curve(self.id_scores, np.array([score]))) for score in scores])

    def rescored(self, found: Tensor, which: ImageSet) -> tuple[npt.NDArray[np.uint8], Scores]:
        """Found images, float (B, C, H, W), as a run would store them, uint8 (B, H, W, C), and their scores (B,).

        Raises:
            OodbenchError: one of them has left the ball or the 8-bit grid.
        """
        levels = found * 255
        stored = levels.round().to(torch.uint8)
        before = inputs(which, found.device)
        left = LinfBall(before, self.task.epsilon).is_outside(stored.int() - (before * 255).round().int())
        if left.any() or (levels - levels.round()).abs().max() > 1e-3:
            raise OodbenchError(f"{self.detector.name}: an attacked image has left the ball or the 8-bit grid")
        with exact(self.detector.network), torch.no_grad():
            scored = score_batch(self.detector, ImageBatch(as_input(stored), which.indices, self.purpose, which.name))
        return stored.permute(0, 2, 3, 1).cpu().numpy(), scored.scores


def inputs(images: ImageSet, device: torch.device) -> Tensor:
    """Images as networks take them, float (N, C, H, W)."""
    return as_input(channels_first(images.pixels(), device))


def at_hand(config: RunConfig) -> Subject:
    """What a run of the adaptive tier over one OOD set is about, if it has its networks.

    Args:
        config: its first detector is attacked, the others are what is attacked in its place. A network that is not kept
            may have been trained in its results folder.

    Raises:
        OodbenchError: there is no network for one of them, or images are missing.
    """
    with prepared(config) as ready:
        (seed_plan,) = ready.run_plan.seeds
        request, (plan,) = seed_plan.request, seed_plan.suites
        device = request.machinery.device
        found = _fitted(plan, request.machinery)
    task = plan.suite.tasks[TASK]
    assert isinstance(task, LinfAdaptive)  # what was asked for
    own, *donors = (found[name] for name in config.detectors)
    id_images, (ood,) = plan.images[plan.suite.id.test], config.only
    (scored,) = score_versions([own], id_images, Versions(), Purpose(SEED, id_images.name), device)
    best = [
        max(np.flatnonzero(scored.predictions == label), key=lambda row: scored.scores[row])
        for label in np.unique(scored.predictions)
    ]
    pixels = channels_first_view(id_images.pixels(np.array(best)), device)
    name, images = plan.suite.name, plan.images[ood]
    return Subject(name, own, task, id_images, scored.scores, as_input(pixels), images, tuple(donors))


def _fitted(plan: SuitePlan, machinery: Machinery) -> dict[str, Detector]:
    """The detectors of a plan, by name."""
    found: dict[str, Detector] = {}
    for network_plan in plan.networks:
        if not (network_plan.given or network_plan.file.is_file()):
            raise OodbenchError(
                f"no network is kept for {network_plan.names} ({network_plan.why_not_pretrained}), and none has been "
                "trained: name the folder of an `oodbench run` that trained it with --results"
            )
        network = provide(plan, network_plan, machinery, lambda _: None)
        detectors = [cell.detector for cell in network_plan.cells]
        fit(detectors, network, plan.suite.id.classes, fitting_images(plan, detectors, machinery.device))
        found |= {detector.name: detector for detector in detectors}
    return found
