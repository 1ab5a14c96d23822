"""Where a network comes from, as far as its file says: on what it was trained, and which images it never saw.

Networks that oodbench trains carry it in the metadata of their safetensors file. Of any other network, and of one that
began with such weights, nothing is known: what a detector is then tuned on may have been trained on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import excerpt
from oodbench.detector import Tuning
from oodbench.networks import checkpoints
from oodbench.objective import Objective
from oodbench.results.conditions import IN_WEIGHTS, Setup, key_parts, place_text
from oodbench.running.imagesets import ImageSets
from oodbench.suite import Suite

TRAINED_ON, SEED = "trained_on", "seed"
LIMIT = "limit"
"""How many images it was trained on, where a run took only some (`--limit`)."""

HELD_OUT = "held_out"
"""Fingerprint of the ID training images that were held out; "" where not all training is known."""

RESERVED = "reserved_outliers"
"""Fingerprint of the outliers that were kept out of training, or `NO_OUTLIERS`; "" where none are known to be."""

NO_OUTLIERS = "no outliers"

ID_IMAGES, OUTLIERS = "id_images", "outliers"
"""What a detector is tuned on."""


def trained_on(file: Path) -> str:
    """Where and with what the network in `file` was trained, for people; "" where the file does not say it."""
    about = metadata(file)
    said = about.get(TRAINED_ON, "")
    if not said and "hardware" in about and "torch" in about:
        said = place_text(about["hardware"], about["torch"])
    return excerpt(said)


def together(places: Sequence[str]) -> str:
    """Where a training took place, from where each part of it did."""
    return ", then on ".join(dict.fromkeys(places))


def kept_out(suite: Suite, image_sets: ImageSets, objective: Objective, start: Path | None) -> dict[str, str]:
    """What the metadata of a network that is trained now says of the images that it does not see.

    Args:
        suite: with its training images in `image_sets`.
        image_sets: what the run has in memory.
        objective: of the training.
        start: weights that it begins with: what these have seen, it has seen.
    """
    before = {HELD_OUT: image_sets.held_out, RESERVED: NO_OUTLIERS} if start is None else metadata(start)
    held_out = image_sets.held_out if before.get(HELD_OUT) == image_sets.held_out else ""
    if not objective.uses_outliers or suite.outliers is None:
        return {HELD_OUT: held_out, RESERVED: before.get(RESERVED, "")}
    mine = "" if suite.outliers.train_on_reserved else image_sets.reserved(suite)
    return {HELD_OUT: held_out, RESERVED: mine if before.get(RESERVED) in (NO_OUTLIERS, mine) else ""}


def learned_from(suite: Suite, image_sets: ImageSets, objective: Objective) -> dict[str, str]:
    """What the metadata of a network that is trained now says of its images, beyond what their sets are called.

    Args:
        suite: with its training images in `image_sets`.
        image_sets: what the run has in memory.
        objective: of the training.
    """
    said = {"id_train_images": image_sets.images[suite.id.train].fingerprint} if suite.id.train else {}
    if objective.uses_outliers and suite.outliers:
        said |= {"outlier_images": image_sets.images[suite.outliers.set].fingerprint, "outliers": repr(suite.outliers)}
    return said


def trained_under(setup: Setup) -> dict[str, str]:
    """What it says of how its training calculated, as far as that makes other weights."""
    return {"precision": ", ".join(key_parts(setup, IN_WEIGHTS))}


def perhaps_seen(file: Path, suite: Suite, image_sets: ImageSets, tuning: Tuning) -> list[str]:
    """What of the images for `tuning` is not known to have been kept from the training of the network in `file`."""
    about = metadata(file)
    found = []
    if tuning.source == "heldout" and not (image_sets.held_out and about.get(HELD_OUT) == image_sets.held_out):
        found.append(ID_IMAGES)
    if tuning.outliers and about.get(RESERVED, "") not in (NO_OUTLIERS, image_sets.reserved(suite) or NO_OUTLIERS):
        found.append(OUTLIERS)
    return found


def metadata(file: Path) -> Mapping[str, str]:
    """What a file says of itself; nothing where it is none that carries such words."""
    try:
        return checkpoints.metadata(file)
    except OodbenchError:
        return {}
