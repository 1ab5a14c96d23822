"""A network's provenance in its file: where and how it was trained, and which images it never saw.

Networks that oodbench trains carry their provenance in the metadata of their safetensors file. Of any other network,
and of one whose training began with the weights of such a network, nothing is known: images that a detector is then
tuned on may be images that the network was trained on.
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
from oodbench.training.suite_network import checkpoint_digest

TRAINED_ON, SEED = "trained_on", "seed"
LIMIT = "limit"
"""Key of the number of images that it was trained on, where a run took only some (`--limit`)."""

HELD_OUT = "held_out"
"""Key of the fingerprint of the ID training images that were held out, which is "" where not all training is known."""

RESERVED = "reserved_outliers"
"""Key of the fingerprint of the outliers that were kept out of training.

It is `NO_OUTLIERS` where nothing was trained on outliers, and "" where no outliers are known to have been kept out."""

NO_OUTLIERS = "no outliers"

ID_TRAIN_IMAGES, OUTLIER_IMAGES = "id_train_images", "outlier_images"
"""Keys of the fingerprints of the ID images and of the outliers that it was trained on."""

ID_IMAGES, OUTLIERS = "id_images", "outliers"
"""Kinds of images that a detector is tuned on."""


def trained_on(file: Path) -> str:
    """Where and with what the network in `file` was trained, for people; "" where the file does not say it."""
    about = metadata(file)
    text = about.get(TRAINED_ON, "")
    if not text and "hardware" in about and "torch" in about:
        text = place_text(about["hardware"], about["torch"])
    return excerpt(text)


def join_places(places: Sequence[str]) -> str:
    """The places of the parts of a training in one text, for people."""
    return ", then on ".join(dict.fromkeys(places))


def training_metadata(suite: Suite, objective: Objective, seed: int) -> dict[str, str]:
    """The metadata of a network that say how it is trained, images, code and machine aside.

    Args:
        suite: with its network and its recipe.
        objective: of the training.
        seed: of the training.
    """
    return {
        "objective": objective.identity,
        "network": suite.network.trained_as,
        "recipe": repr(suite.training),
        "id_train": str(suite.id.train),
        SEED: str(seed),
    }


def unseen_metadata(suite: Suite, image_sets: ImageSets, objective: Objective, start: Path | None) -> dict[str, str]:
    """The metadata of a network that is trained now that say which images it does not see.

    Args:
        suite: with its training images in `image_sets`.
        image_sets: what the run has in memory.
        objective: of the training.
        start: weights that it begins with; it has seen whatever they have seen.
    """
    before = {HELD_OUT: image_sets.held_out, RESERVED: NO_OUTLIERS} if start is None else metadata(start)
    held_out = image_sets.held_out if before.get(HELD_OUT) == image_sets.held_out else ""
    if not objective.uses_outliers or suite.outliers is None:
        return {HELD_OUT: held_out, RESERVED: before.get(RESERVED, "")}
    reserved = "" if suite.outliers.train_on_reserved else image_sets.reserved(suite)
    return {HELD_OUT: held_out, RESERVED: reserved if before.get(RESERVED) in (NO_OUTLIERS, reserved) else ""}


def seen_metadata(suite: Suite, image_sets: ImageSets, objective: Objective) -> dict[str, str]:
    """The metadata of a network that is trained now that identify the images that it sees.

    Args:
        suite: with its training images in `image_sets`.
        image_sets: what the run has in memory.
        objective: of the training.
    """
    about = {ID_TRAIN_IMAGES: image_sets.images[suite.id.train].fingerprint} if suite.id.train else {}
    if objective.uses_outliers and suite.outliers:
        about |= {OUTLIER_IMAGES: image_sets.images[suite.outliers.set].fingerprint, "outliers": repr(suite.outliers)}
    return about


def learned_from(file: Path, start: Path | None) -> dict[str, str]:
    """What the network in `file` has learned from: fingerprints of its image sets, and of the weights it began with.

    Args:
        file: of the network.
        start: file of the weights that its training began with; None where they were drawn.

    Returns:
        By kind; a kind of which the file says nothing is left out.
    """
    about = metadata(file)
    seen = {name: excerpt(about[name]) for name in (ID_TRAIN_IMAGES, OUTLIER_IMAGES) if name in about}
    return seen | ({"start": checkpoint_digest(start)} if start is not None else {})


def precision_metadata(setup: Setup) -> dict[str, str]:
    """The metadata of a network that say how its training calculates, as far as that changes the weights."""
    return {"precision": ", ".join(key_parts(setup, IN_WEIGHTS))}


def perhaps_seen(file: Path, suite: Suite, image_sets: ImageSets, tuning: Tuning) -> list[str]:
    """The kinds of images for `tuning` that the network in `file` may have been trained on.

    Returns:
        Of `ID_IMAGES` and `OUTLIERS` those that its metadata do not prove to have been kept out of training.
    """
    about = metadata(file)
    kinds = []
    if tuning.source == "heldout" and not (image_sets.held_out and about.get(HELD_OUT) == image_sets.held_out):
        kinds.append(ID_IMAGES)
    if tuning.outliers and about.get(RESERVED, "") not in (NO_OUTLIERS, image_sets.reserved(suite) or NO_OUTLIERS):
        kinds.append(OUTLIERS)
    return kinds


def metadata(file: Path) -> Mapping[str, str]:
    """The metadata of a network's file; empty where the file has none or is not a safetensors file."""
    try:
        return checkpoints.metadata(file)
    except OodbenchError:
        return {}
