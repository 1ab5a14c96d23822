"""Scores images as they come in, a batch at a time, with p-values where a detector is calibrated."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.networks.network import batch_size
from oodbench.scoring.deployed import DeployedDetector
from oodbench.sources.incoming import Incoming


@dataclass(frozen=True)
class Served:
    """The outcome for one image.

    Attributes:
        name: of the image.
        score: higher = more in-distribution; None where it has none.
        p_value: see `oodbench.statistics.conformal.p_values`; None where it has none.
        amiss: the reason why it has no score; "" where it has one.
    """

    name: str
    score: float | None = None
    p_value: float | None = None
    amiss: str = ""


def serve(detector: DeployedDetector, images: Iterable[Incoming]) -> Iterator[list[Served]]:
    """Yield the outcomes of `detector` for images, a batch at a time and in their order.

    An image that cannot be read, or gets no finite score, has the reason in its outcome and stops nothing.
    """
    source, size = iter(images), batch_size(detector.device, max(detector.input.side))
    portions = Portions()
    while batch := list(islice(source, size)):
        yield _serve_batch(detector, batch, portions)


def _serve_batch(detector: DeployedDetector, batch: Sequence[Incoming], portions: Portions) -> list[Served]:
    amiss = {place: image.amiss for place, image in enumerate(batch) if image.pixels is None}
    places = [place for place in range(len(batch)) if place not in amiss]
    readable = [batch[place] for place in places]
    scores = dict(zip(places, _scores(detector, readable, portions, amiss, places), strict=True))
    known = np.asarray([score for score in scores.values() if score is not None], np.float64)
    p_values = iter(detector.p_values(known) if detector.calibration is not None else [None] * len(known))
    outcomes = []
    for place, image in enumerate(batch):
        score = scores.get(place)
        p_value = next(p_values) if score is not None else None
        reason = amiss.get(place, "")
        outcomes.append(Served(image.name, score, None if p_value is None else float(p_value), reason))
    return outcomes


def _scores(
    detector: DeployedDetector,
    images: Sequence[Incoming],
    portions: Portions,
    amiss: dict[int, str],
    places: Sequence[int],
) -> list[float | None]:
    """Score images all together or, where that is refused, one by one; reasons for a missing score go into `amiss`."""
    if not images:
        return []
    pixels = np.stack([image.pixels for image in images if image.pixels is not None])

    def score_part(rows: slice) -> Floats:
        return detector.score_batch(pixels[rows])

    try:
        return [float(score) for part in portions.each(len(pixels), score_part) for score in part]
    except OodbenchError as error:
        if len(images) == 1:
            amiss[places[0]] = str(error)
            return [None]
    score_alone = partial(_scores, detector, portions=portions, amiss=amiss)
    pairs = zip(images, places, strict=True)
    return [score for image, place in pairs for score in score_alone([image], places=[place])]
