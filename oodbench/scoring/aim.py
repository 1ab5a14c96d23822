"""What an attack on a detector aims at: images that score high, and where one image has got far enough."""

import numpy as np
import numpy.typing as npt
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import as_input
from oodbench.tasks import Task

LURES = 8
"""ID images with the highest scores, at which attacks look."""


def aim(
    detector: Detector, task: Task, id_images: ImageSet, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Goal:
    """With the ID images that score highest as lures, and an end where an image has passed enough of the others.

    Args:
        detector: fitted.
        task: that attacks OOD images.
        id_images: ID test images.
        id_scores: theirs (N,), not attacked.
        device: where the attack runs.
    """
    highest = np.argsort(-id_scores, kind="stable")[:LURES]
    pixels = torch.from_numpy(id_images.pixels(highest)).permute(0, 3, 1, 2).to(device)
    return Goal.of(detector, as_input(pixels), enough(id_scores, task))


def enough(id_scores: npt.NDArray[np.float64], task: Task) -> float:
    """The score at which an image has passed so many of the ID scores (N,) that a task leaves it alone.

    Infinity where these are all one: to reach that is not yet to pass it.
    """
    if id_scores.min() == id_scores.max():
        return float("inf")
    return float(np.quantile(id_scores, task.stops_at(), method="higher"))
