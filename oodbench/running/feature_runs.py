"""A run on a feature pack: the pack's suite and image sets, and which detectors it has all for."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector, TuningImages
from oodbench.images.imageset import ImageSet
from oodbench.images.numbered import Numbered
from oodbench.images.tensors import channels_first_view
from oodbench.networks import feature_packs
from oodbench.networks.feature_packs import FeaturePack
from oodbench.networks.network import as_input
from oodbench.networks.of_features import NotInPackError
from oodbench.objective import Objective
from oodbench.running.image_checks import check, check_labels
from oodbench.running.imagesets import ImageSets
from oodbench.running.label_check import CLASSES
from oodbench.suite import Suite
from oodbench.suitefiles import suitefile
from oodbench.tasks import Clean

SUITE, OBJECTIVE, LIMIT, HELD_OUT_IMAGES = "suite", "objective", "limit_of_sets", "held_out_images"
"""Keys of a pack's metadata: the suite, the objective of the network's training, how many images of each set were
taken, and the fingerprint of all images held out."""

_CONSTANT = re.compile(r"\w+=[^,()]+")

TRIED = 2
"""Number of images that a detector is tried on."""


def heldout_name(suite: Suite) -> str:
    """The name that the images held out of training have in a pack."""
    return f"{suite.id.train}-heldout"


def reserved_name(suite: Suite) -> str:
    """The name that the outliers kept for validation have in a pack; "" for a suite without outliers."""
    return f"{suite.outliers.set}-reserved" if suite.outliers else ""


def suite_text(suite: Suite) -> str:
    """A suite as text for the metadata of a pack."""
    return json.dumps({"name": suite.name, **suitefile.table(suite)})


def load(path: Path) -> FeaturePack:
    """Read a pack, once for all that a run asks of it.

    Raises:
        OodbenchError: the pack is missing or broken.
    """
    try:
        state = path.stat()
    except OSError:
        return feature_packs.read(path)  # which raises the error that says what is wrong
    return _read(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _: int, __: int) -> FeaturePack:
    return feature_packs.read(path)


def suite_of(pack: FeaturePack) -> Suite:
    """The suite of a pack, with the OOD sets that the pack has and no task but `clean`.

    Raises:
        OodbenchError: the pack has no suite, or one that it has no images of.
    """
    where = f"the suite of feature pack {pack.path}"
    try:
        table = json.loads(pack.about.get(SUITE, ""))
    except (ValueError, RecursionError) as error:
        raise OodbenchError(
            f"{where} is not valid JSON ({error}): write the pack with oodbench.write_features"
        ) from error
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise OodbenchError(f"{where} has no name: write the pack with oodbench.write_features")
    suite = suitefile.assemble(table.pop("name"), {**table, "tasks": {"clean": {}}}, where)
    present = tuple(ood.set for ood in suite.ood if ood.set in pack.sets)
    if suite.id.test not in pack.sets or not present:
        raise OodbenchError(
            f"feature pack {pack.path} has the sets {', '.join(pack.sets)}; its suite {suite.name!r} wants the ID set "
            f"{suite.id.test} and some of {', '.join(ood.set for ood in suite.ood)}"
        )
    if pack.outputs < suite.id.classes:
        raise OodbenchError(
            f"feature pack {pack.path} has {pack.outputs} logits an image, and its suite {suite.id.classes} classes: "
            "write a logit for each"
        )
    return suite if len(present) == len(suite.ood) else replace(suite, only=present)


def require_clean(suite: Suite) -> None:
    """Raise OodbenchError for a task that alters images, of which a pack has none."""
    altering = [name for name, task in suite.tasks.items() if not isinstance(task, Clean)]
    if altering:
        raise OodbenchError(
            f"{', '.join(altering)}: alters images, and a feature pack has none; leave it out, or run the suite "
            "without --features"
        )


def image_sets(
    pack: FeaturePack,
    suite: Suite,
    detectors: Sequence[Detector],
    limit: int | None = None,
    images: int | None = None,
) -> ImageSets:
    """The image sets of a pack, as a run uses them.

    Args:
        pack: that has them.
        suite: of the pack, with what the run changes in it.
        detectors: of the run.
        limit: how many images of each ID and OOD set, of each class its share; None for all.
        images: how many of each OOD set, in the same way; None for all.

    Raises:
        OodbenchError: labels do not fit the suite.
    """
    names = _class_names(pack)
    sets = {suite.id.test: _image_set(pack, suite.id.test, suite.id.test, names).spread(limit)}
    sets |= {ood.set: _image_set(pack, ood.set, ood.set).spread(limit).spread(images) for ood in suite.tested}
    if suite.id.train and suite.id.train in pack.sets:
        sets[suite.id.train] = _image_set(pack, suite.id.train, suite.id.train, names).spread(limit)
    if suite.outliers and reserved_name(suite) in pack.sets:
        sets[suite.outliers.set] = _image_set(pack, reserved_name(suite), suite.outliers.set)
    heldout = None
    if suite.id.train and heldout_name(suite) in pack.sets:
        heldout = _image_set(pack, heldout_name(suite), suite.id.train, names).spread(limit)
    for id_images in filter(None, [sets.get(str(suite.id.train)), heldout]):
        check_labels(id_images, suite)
    check(sets, suite, detectors)
    return ImageSets(sets, heldout, held_out=pack.about.get(HELD_OUT_IMAGES, ""), limit=limit, pack=pack)


def limit_of(pack: FeaturePack) -> int | None:
    """How many images of each set of its suite the pack has; None for all."""
    limit = pack.about.get(LIMIT, "")
    return int(limit) if limit.isdecimal() and len(limit) < 10 and int(limit) else None


def unsupported_detectors(pack: FeaturePack, suite: Suite, detectors: Sequence[Detector]) -> dict[str, str]:
    """Why detectors cannot be run on a pack, by the names of those that cannot, as far as two images tell.

    Args:
        pack: that they would be run on.
        suite: of the pack.
        detectors: unfitted, and not used afterwards.
    """
    sets = image_sets(pack, suite, [])
    reasons = {detector.name: _lack(pack, suite, sets, detector) for detector in detectors}
    return {name: reason for name, reason in reasons.items() if reason}


def own_training_reasons(pack: FeaturePack, detectors: Sequence[Detector]) -> dict[str, str]:
    """Why detectors that train their networks in ways of their own are left out, by their names.

    There are such reasons only for a pack that does not say how its network was trained. A detector that is asked for
    by name is scored all the same, as with a checkpoint: whoever names it may know.
    """
    if pack.about.get(OBJECTIVE):
        return {}
    reason = "trains its network in its own way, and the pack does not say how its own was trained: name it to score it"
    return {detector.name: reason for detector in detectors if detector.objective() != Objective()}


def _lack(pack: FeaturePack, suite: Suite, sets: ImageSets, detector: Detector) -> str:
    """Why a detector cannot be run on a pack, in words that follow its name; "" if it can."""
    objective, trained = detector.objective(), pack.about.get(OBJECTIVE, "")
    if trained and objective.identity != trained:
        difference = _objective_difference(trained, objective)
        return f"trains its network in its own way, and that of the pack was trained otherwise ({difference})"
    needed = suite.id.classes + objective.reject_outputs
    # Outputs behind those of the classes are of no class: negative labels, or a reject class of another method.
    if pack.outputs != needed and (objective.reject_outputs or pack.outputs < needed):
        return f"needs {needed} logits an image, and the pack has {pack.outputs}"
    if missing := _missing_sets_text(suite, sets, detector):
        return missing
    try:
        with suppress(RuntimeError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError):
            _try(pack, suite, sets, detector)
    except NotInPackError as error:
        return str(error)
    except OodbenchError:  # two images may be too few for it; the run reports any other error
        return ""
    return ""


def _objective_difference(trained: str, objective: Objective) -> str:
    """The constants in which the objective of identity `trained` differs from `objective`; or that identity's start."""
    of_pack, here = (_CONSTANT.findall(identity) for identity in (trained, objective.identity))
    if trained.partition("(")[0] != objective.identity.partition("(")[0]:
        return trained[:60]
    only_of_pack = ", ".join(constant for constant in of_pack if constant not in here)
    only_here = ", ".join(constant for constant in here if constant not in of_pack)
    return f"{only_of_pack}, and here {only_here}"


def _missing_sets_text(suite: Suite, sets: ImageSets, detector: Detector) -> str:
    """Which images a detector learns from and the pack does not have, in words that follow its name; "" if none."""
    tuning = detector.tuning()
    if detector.observes() and suite.id.train not in sets.images:
        return "learns from ID training images, and the pack has none"
    if tuning and tuning.source == "heldout" and sets.heldout is None:
        return "is tuned on ID images held out of training, and the pack has none"
    if tuning and tuning.outliers and (suite.outliers is None or suite.outliers.set not in sets.images):
        return "is tuned on reserved outliers, and the pack has none"
    return ""


def _try(pack: FeaturePack, suite: Suite, sets: ImageSets, detector: Detector) -> None:
    """Do with a detector all that a run does, on two images."""
    network = pack.network()
    detector.attach(network, suite.id.classes)
    pixels, labels = _few_images(sets.images[suite.id.test])
    with torch.no_grad():
        representation = network.represent(as_input(pixels))
        if detector.observes():
            detector.observe(representation, labels.clamp(0))
        detector.settle()
    if tuning := detector.tuning():
        outliers = sets.images[suite.outliers.set] if tuning.outliers and suite.outliers else None
        more = _few_images(outliers)[0] if outliers else pixels[:0]
        detector.tune(TuningImages(pixels, labels.clamp(0), more))
    needed = detector.needs_graph()
    images = as_input(pixels).requires_grad_(needed)
    with torch.set_grad_enabled(needed):
        detector.score_and_published(images, network.represent(images))


def _few_images(images: ImageSet) -> tuple[Tensor, Tensor]:
    """The first images, uint8 (TRIED, C, H, W), and their labels (TRIED,)."""
    few = images.first(TRIED)
    return channels_first_view(few.pixels()), torch.from_numpy(few.labels)


def _class_names(pack: FeaturePack) -> tuple[str, ...]:
    """The names of the pack's classes, in the order of the outputs; none where it does not say them."""
    try:
        names = json.loads(pack.about.get(CLASSES, "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _image_set(pack: FeaturePack, name: str, called: str, classes: tuple[str, ...] = ()) -> ImageSet:
    """The set `name` of a pack as an image set, which a run calls `called`."""
    if name not in pack.sets:
        raise OodbenchError(f"feature pack {pack.path} has no set {name!r}, it has {', '.join(pack.sets)}")
    features = pack.sets[name]
    rows = torch.arange(len(features)).numpy()
    images = Numbered(pack.first(name), rows, len(features), features.fingerprint, features.size)
    source = f"{features.source}; " if features.source else ""
    return ImageSet(
        called, images, features.labels.numpy(), f"{source}features of {pack.title}", features.indices.numpy(), classes
    )
