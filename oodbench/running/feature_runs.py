"""A run on a feature pack: its suite and its image sets as the pack has them, and who can do with what is in it."""

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
from oodbench.running.imagesets import ImageSets, check, check_labels
from oodbench.running.label_check import CLASSES
from oodbench.suite import Suite
from oodbench.suitefiles import suitefile
from oodbench.tasks import Clean

SUITE, OBJECTIVE, LIMIT, HELD_OUT_IMAGES = "suite", "objective", "limit_of_sets", "held_out_images"
"""What metadata of a pack say: the suite, how the network was trained, how many images of each set were taken, and the
fingerprint of all images held out."""

_CONSTANT = re.compile(r"\w+=[^,()]+")

TRIED = 2
"""Images that a detector is tried on."""


def heldout_name(suite: Suite) -> str:
    """What the images held out of training are called in a pack."""
    return f"{suite.id.train}-heldout"


def reserved_name(suite: Suite) -> str:
    """What the outliers kept for validation are called in a pack; "" for a suite without outliers."""
    return f"{suite.outliers.set}-reserved" if suite.outliers else ""


def suite_text(suite: Suite) -> str:
    """A suite as the metadata of a pack say it."""
    return json.dumps({"name": suite.name, **suitefile.table(suite)})


def load(path: Path) -> FeaturePack:
    """A pack; read once for all that a run asks of it.

    Raises:
        OodbenchError: what is wrong with it.
    """
    try:
        state = path.stat()
    except OSError:
        return feature_packs.read(path)  # which says what is wrong
    return _read(path.absolute(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _: int, __: int) -> FeaturePack:
    return feature_packs.read(path)


def suite_of(pack: FeaturePack) -> Suite:
    """The suite that a pack says it is of, with the OOD sets that the pack has and no task but `clean`.

    Raises:
        OodbenchError: it says none, or one that the pack has no images of.
    """
    where = f"the suite of feature pack {pack.path}"
    try:
        table = json.loads(pack.about.get(SUITE, ""))
    except (ValueError, RecursionError) as error:
        raise OodbenchError(f"{where} is no JSON ({error}): write the pack with oodbench.write_features") from error
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise OodbenchError(f"{where} has no name: write the pack with oodbench.write_features")
    suite = suitefile.assemble(table.pop("name"), {**table, "tasks": {"clean": {}}}, where)
    there = tuple(ood.set for ood in suite.ood if ood.set in pack.sets)
    if suite.id.test not in pack.sets or not there:
        raise OodbenchError(
            f"feature pack {pack.path} has the sets {', '.join(pack.sets)}; its suite {suite.name!r} wants the ID set "
            f"{suite.id.test} and some of {', '.join(ood.set for ood in suite.ood)}"
        )
    if pack.outputs < suite.id.classes:
        raise OodbenchError(
            f"feature pack {pack.path} has {pack.outputs} logits an image, and its suite {suite.id.classes} classes: "
            "write a logit for each"
        )
    return suite if len(there) == len(suite.ood) else replace(suite, only=there)


def require_clean(suite: Suite) -> None:
    """OodbenchError for a task that alters images, of which a pack has none."""
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
    """The sets of a pack as a run takes them.

    Args:
        pack: that has them.
        suite: of the pack, with what the run changes in it.
        detectors: of the run.
        limit: so many images of each ID and OOD set, of each class its share; None for all.
        images: so many of each OOD set, in the same way; None for all.

    Raises:
        OodbenchError: labels do not fit the suite.
    """
    names = _class_names(pack)
    found = {suite.id.test: _image_set(pack, suite.id.test, suite.id.test, names).spread(limit)}
    found |= {ood.set: _image_set(pack, ood.set, ood.set).spread(limit).spread(images) for ood in suite.tested}
    if suite.id.train and suite.id.train in pack.sets:
        found[suite.id.train] = _image_set(pack, suite.id.train, suite.id.train, names).spread(limit)
    if suite.outliers and reserved_name(suite) in pack.sets:
        found[suite.outliers.set] = _image_set(pack, reserved_name(suite), suite.outliers.set)
    heldout = None
    if suite.id.train and heldout_name(suite) in pack.sets:
        heldout = _image_set(pack, heldout_name(suite), suite.id.train, names).spread(limit)
    for one in filter(None, [found.get(str(suite.id.train)), heldout]):
        check_labels(one, suite)
    check(found, suite, detectors)
    return ImageSets(found, heldout, held_out=pack.about.get(HELD_OUT_IMAGES, ""), limit=limit, pack=pack)


def limit_of(pack: FeaturePack) -> int | None:
    """How many images of each set the pack took of what its suite has; None for all."""
    said = pack.about.get(LIMIT, "")
    return int(said) if said.isdecimal() and len(said) < 10 and int(said) else None


def unable(pack: FeaturePack, suite: Suite, detectors: Sequence[Detector]) -> dict[str, str]:
    """Why detectors cannot do with a pack, by the names of those that cannot, as far as two images tell.

    Args:
        pack: to be run on.
        suite: of it.
        detectors: unfitted, and not used afterwards.
    """
    sets = image_sets(pack, suite, [])
    reasons = {detector.name: _why_unable(pack, suite, sets, detector) for detector in detectors}
    return {name: reason for name, reason in reasons.items() if reason}


def trained_otherwise(pack: FeaturePack, detectors: Sequence[Detector]) -> dict[str, str]:
    """Which detectors train their networks in ways of their own, where a pack does not say how its own was; and that.

    Asked for by name they are scored, as with a checkpoint: whoever names them may know.
    """
    if pack.about.get(OBJECTIVE):
        return {}
    said = "trains its network in its own way, and the pack does not say how its own was trained: name it to score it"
    return {detector.name: said for detector in detectors if detector.objective() != Objective()}


def _why_unable(pack: FeaturePack, suite: Suite, sets: ImageSets, detector: Detector) -> str:
    objective, trained = detector.objective(), pack.about.get(OBJECTIVE, "")
    if trained and objective.identity != trained:
        how = _but(trained, objective)
        return f"trains its network in its own way, and that of the pack was trained otherwise ({how})"
    needed = suite.id.classes + objective.reject_outputs
    # Outputs behind those of the classes are of no class: negative labels, or a reject class of another method.
    if pack.outputs != needed and (objective.reject_outputs or pack.outputs < needed):
        return f"needs {needed} logits an image, and the pack has {pack.outputs}"
    if lacking := _lacking(suite, sets, detector):
        return lacking
    try:
        with suppress(RuntimeError, ValueError, TypeError, IndexError, AttributeError, ZeroDivisionError):
            _try(pack, suite, sets, detector)
    except NotInPackError as error:
        return str(error)
    except OodbenchError:  # two images are too few for it; the run says what else is wrong
        return ""
    return ""


def _but(trained: str, objective: Objective) -> str:
    """In which constants a way of training, by its identity, is not that of `objective`; or what it is."""
    there, here = (_CONSTANT.findall(identity) for identity in (trained, objective.identity))
    if trained.partition("(")[0] != objective.identity.partition("(")[0]:
        return trained[:60]
    differing = [", ".join(one for one in ours if one not in theirs) for ours, theirs in ((there, here), (here, there))]
    return f"{differing[0]}, and here {differing[1]}"


def _lacking(suite: Suite, sets: ImageSets, detector: Detector) -> str:
    """What sets it learns from that are not there."""
    tuning = detector.tuning()
    if detector.observes() and suite.id.train not in sets.images:
        return "learns from ID training images, and the pack has none"
    if tuning and tuning.source == "heldout" and sets.heldout is None:
        return "is tuned on ID images held out of training, and the pack has none"
    if tuning and tuning.outliers and (suite.outliers is None or suite.outliers.set not in sets.images):
        return "is tuned on reserved outliers, and the pack has none"
    return ""


def _try(pack: FeaturePack, suite: Suite, sets: ImageSets, detector: Detector) -> None:
    """All that a run asks of a detector, on two images."""
    network = pack.network()
    detector.attach(network, suite.id.classes)
    pixels, labels = _some(sets.images[suite.id.test])
    with torch.no_grad():
        representation = network.represent(as_input(pixels))
        if detector.observes():
            detector.observe(representation, labels.clamp(0))
        detector.settle()
    if tuning := detector.tuning():
        outliers = sets.images[suite.outliers.set] if tuning.outliers and suite.outliers else None
        more = _some(outliers)[0] if outliers else pixels[:0]
        detector.tune(TuningImages(pixels, labels.clamp(0), more))
    needed = detector.needs_graph()
    images = as_input(pixels).requires_grad_(needed)
    with torch.set_grad_enabled(needed):
        detector.score_and_published(images, network.represent(images))


def _some(images: ImageSet) -> tuple[Tensor, Tensor]:
    few = images.first(TRIED)
    return channels_first_view(few.pixels()), torch.from_numpy(few.labels)


def _class_names(pack: FeaturePack) -> tuple[str, ...]:
    try:
        found = json.loads(pack.about.get(CLASSES, "[]"))
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _image_set(pack: FeaturePack, name: str, called: str, classes: tuple[str, ...] = ()) -> ImageSet:
    if name not in pack.sets:
        raise OodbenchError(f"feature pack {pack.path} has no set {name!r}, it has {', '.join(pack.sets)}")
    one = pack.sets[name]
    rows = torch.arange(len(one)).numpy()
    images = Numbered(pack.first(name), rows, len(one), one.fingerprint, one.size)
    source = f"{one.source}; " if one.source else ""
    return ImageSet(
        called, images, one.labels.numpy(), f"{source}features of {pack.title}", one.indices.numpy(), classes
    )
