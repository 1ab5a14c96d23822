"""A detector at work: images as they come, a batch at a time, to scores and p-values."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.networks.network import batch_size
from oodbench.scoring.deployed import DeployedDetector, Floats
from oodbench.sources.incoming import Incoming


@dataclass(frozen=True)
class Served:
    """What is said of one image.

    Attributes:
        name: of the image.
        score: higher = more in-distribution; None where it has none.
        p_value: see `oodbench.statistics.conformal.p_values`; None where it has none.
        amiss: why it has no score; "" where it has one.
    """

    name: str
    score: float | None = None
    p_value: float | None = None
    amiss: str = ""


def served(detector: DeployedDetector, images: Iterable[Incoming]) -> Iterator[list[Served]]:
    """What `detector` says of images, a batch at a time and in their order.

    An image that cannot be had, or gets no finite score, says so and stops nothing.
    """
    source, size = iter(images), batch_size(detector.device, max(detector.input.side))
    portions = Portions()
    while batch := list(islice(source, size)):
        yield _batch(detector, batch, portions)


def _batch(detector: DeployedDetector, batch: Sequence[Incoming], portions: Portions) -> list[Served]:
    amiss = {at: one.amiss for at, one in enumerate(batch) if one.pixels is None}
    taken = [at for at in range(len(batch)) if at not in amiss]
    scores = dict(zip(taken, _scores(detector, [batch[at] for at in taken], portions, amiss, taken), strict=True))
    known = np.asarray([score for score in scores.values() if score is not None], np.float64)
    p_values = iter(detector.p_values(known) if detector.calibration is not None else [None] * len(known))
    found = []
    for at, one in enumerate(batch):
        score = scores.get(at)
        p_value = next(p_values) if score is not None else None
        found.append(Served(one.name, score, None if p_value is None else float(p_value), amiss.get(at, "")))
    return found


def _scores(
    detector: DeployedDetector,
    images: Sequence[Incoming],
    portions: Portions,
    amiss: dict[int, str],
    places: Sequence[int],
) -> list[float | None]:
    """Scores of images, all together; where that is refused, of each for itself, and why not in `amiss`."""
    if not images:
        return []
    pixels = np.stack([image.pixels for image in images if image.pixels is not None])

    def work(which: slice) -> Floats:
        return detector.score_batch(pixels[which])

    try:
        return [float(score) for part in portions.each(len(pixels), work) for score in part]
    except OodbenchError as error:
        if len(images) == 1:
            amiss[places[0]] = str(error)
            return [None]
    alone = partial(_scores, detector, portions=portions, amiss=amiss)
    return [score for image, at in zip(images, places, strict=True) for score in alone([image], places=[at])]
