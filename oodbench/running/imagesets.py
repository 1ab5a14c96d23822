"""The images that a run works on: loaded, split, checked against each other."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector, Tuning
from oodbench.images import catalogue
from oodbench.images.builtin import BUILTINS
from oodbench.images.imageset import ImageSet
from oodbench.images.overlap import Contents, contents, overlaps
from oodbench.networks.feature_packs import FeaturePack
from oodbench.objective import Objective
from oodbench.sources.verify import pack_difference
from oodbench.suite import OODSet, Outliers, Suite


@dataclass(frozen=True)
class ImageSets:
    """Image sets in memory.

    Attributes:
        images: by set name; ID training set (without the held out ones) and outliers only where something uses them.
        heldout: images held out of the ID training set; None where nothing uses them.
        unlike: how sets differ from the public ones whose names they have, a line each.
        held_out: fingerprint of all images held out of the ID training set, also where a run takes only some of them;
            "" where none are, or nothing uses them.
        trained_on: fingerprints by name of all images that training would use, also where a run takes only some of
            them; none but where networks that are kept are to be compared with that.
        limit: how many images of each ID and OOD set a run takes; None for all.
        pack: what a network made of all of these, where they are not at hand themselves; None where they are.
        shared: which images of a set are in another that they should be apart from, a line each.
    """

    images: Mapping[str, ImageSet]
    heldout: ImageSet | None
    unlike: tuple[str, ...] = ()
    held_out: str = ""
    trained_on: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    pack: FeaturePack | None = None
    shared: tuple[str, ...] = ()

    def shape(self, suite: Suite) -> tuple[int, int, int]:
        """(C, H, W) of the suite's images."""
        height, width, channels = self.images[suite.id.test].images.shape[1:]
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the images take; image files take next to none."""
        sets = [*self.images.values(), *filter(None, [self.heldout])]
        return sum(each.images.nbytes for each in sets if isinstance(each.images, np.ndarray))

    def tuning_images(self, tuning: Tuning, suite: Suite) -> int:
        """How many images, ID and outliers, `tuning` gets."""
        found = self.images[suite.id.test] if tuning.source == "id-test" else self.heldout
        outliers = suite.outliers.reserved if tuning.outliers and suite.outliers else 0
        return min(len(found) if found else 0, tuning.images) + min(outliers, tuning.images)

    def reserved(self, suite: Suite) -> str:
        """Fingerprint of the suite's reserved outliers; "" where there are none, or nothing uses them."""
        outliers = suite.outliers
        if outliers is None or not outliers.reserved or outliers.set not in self.images:
            return ""
        return self.images[outliers.set].first(outliers.reserved).fingerprint

    def learned_from(self, detector: Detector, suite: Suite) -> list[str]:
        """Fingerprints of what fitting shows `detector`, besides what its network was trained on."""
        used = [self.images[suite.id.train]] if detector.observes() and suite.id.train else []
        if tuning := detector.tuning():
            used += [self.heldout] if tuning.source == "heldout" and self.heldout else []
            used += [self.images[suite.outliers.set]] if tuning.outliers and suite.outliers else []
        return [one.fingerprint for one in used]


def validation_suite(suite: Suite) -> Suite:
    """The suite with held-out ID images and reserved outliers in place of its test sets: what may decide a parameter.

    Raises:
        OodbenchError: it keeps no such images.
    """
    if not (suite.id.train and suite.id.heldout and suite.outliers and suite.outliers.reserved):
        raise OodbenchError(
            f"suite {suite.name!r} keeps no images to choose parameters on: it needs heldout = N under [id] and "
            "reserved = N under [outliers]"
        )
    if suite.outliers.train_on_reserved:
        raise OodbenchError(
            f"suite {suite.name!r} trains on its reserved outliers (train_on_reserved), so they cannot decide a "
            "parameter: leave train_on_reserved out of [outliers]"
        )
    return replace(
        suite,
        name=f"{suite.name}-validation",
        id=replace(suite.id, test=f"{suite.id.train}-heldout"),
        ood=(OODSet(f"{suite.outliers.set}-reserved", "far"),),
    )


@dataclass(frozen=True)
class Sample:
    """Which images a run looks at, of the sets that its suite names.

    Attributes:
        data: folder of the image packs.
        limit: of each ID and OOD set, of each label its share, evenly spread; None for all.
        images: of each OOD set in the same way; None for all.
        validation: held-out ID images against reserved outliers, in place of the test sets.
    """

    data: Path
    limit: int | None = None
    images: int | None = None
    validation: bool = False


def gather(
    sample: Sample,
    suite: Suite,
    detectors: Sequence[Detector],
    trained: Collection[Objective],
    pretrained: Collection[Objective] | None = None,
) -> ImageSets:
    """Load what `detectors` on `suite` use, and no more.

    Args:
        sample: which images.
        suite: with its settings.
        detectors: of the run.
        trained: those of their objectives for which networks are to be trained.
        pretrained: those whose networks are kept; None where nobody asked for any. What these were trained on is loaded
            where it is at hand, so that it can be compared, and is not missed where it is not.

    Raises:
        OodbenchError: a set is missing, broken or does not fit the others, or the suite keeps nothing of a kind that a
            detector learns from.
    """
    training = [each for each in detectors if each.objective() in trained]
    for detector in training:
        _check_training(detector, suite)
    for detector in detectors:
        if said := lacking(detector, suite, detector in training):
            raise OodbenchError(f"detector {detector.name!r} {said}")
    there = catalogue.names(sample.data) if pretrained else []
    tunings = [tuning for detector in detectors if (tuning := detector.tuning())]
    learns = any(detector.observes() for detector in detectors) or any(each.source == "heldout" for each in tunings)
    exposes = any(detector.objective().uses_outliers for detector in training)
    if suite.outliers and suite.outliers.set in there:
        exposes |= any(each.uses_outliers for each in pretrained or ())
    images: dict[str, ImageSet] = {}
    heldout, trained_on = None, dict[str, str]()
    learned: list[Contents] = []
    if suite.id.train and (training or learns or sample.validation or suite.id.train in there):
        whole, heldout = _load_train(sample.data, suite, _reading_labels(detectors, bool(training)))
        images[suite.id.train] = whole.spread(sample.limit)
        learned += [contents(whole).joined_with(contents(heldout)) if heldout else contents(whole)]
        trained_on |= {suite.id.train: whole.fingerprint} if pretrained is not None else {}
    held_out = heldout.fingerprint if heldout else ""
    heldout = heldout.spread(sample.limit) if heldout else None
    if suite.outliers and (exposes or any(tuning.outliers for tuning in tunings) or sample.validation):
        images[suite.outliers.set] = _load_outliers(sample.data, suite, suite.outliers)
        learned += [contents(images[suite.outliers.set])]
        trained_on |= {suite.outliers.set: images[suite.outliers.set].fingerprint} if pretrained is not None else {}
    if sample.validation and heldout and suite.outliers:
        reserved = images[suite.outliers.set].first(suite.outliers.reserved)
        tests = [heldout.called(suite.id.test), reserved.called(suite.ood[0].set)]
        shared = _shared(suite, learned, [])  # the tests are parts of these
    else:
        _require_tests(sample.data, suite)
        tests = [_load(sample.data, suite, name) for name in (suite.id.test, *(ood.set for ood in suite.tested))]
        shared = _shared(suite, learned, tests)
    tests = [tests[0], *(test.spread(sample.limit).spread(sample.images) for test in tests[1:])]
    images |= {test.name: test.spread(sample.limit) for test in tests}
    check(images, suite, detectors)
    found = [pack_difference(name, sample.data) for name in images if name not in BUILTINS]
    said_of = tuple(said for said in found if said)
    return ImageSets(images, heldout, said_of, held_out, trained_on, sample.limit, shared=shared)


def _shared(suite: Suite, learned: Sequence[Contents], tests: Sequence[ImageSet]) -> tuple[str, ...]:
    """Which images of a set are in another that is used in another way, a line for each two sets.

    Args:
        suite: that uses them.
        learned: what is learned from, whole.
        tests: the ID test set and the OOD sets, whole; OOD sets may share images with each other.

    Raises:
        OodbenchError: all images of a set are.
    """
    known = [*learned, *map(contents, tests[:1])]
    ood = [contents(one) for one in tests[1:]]
    found = overlaps([*combinations(known, 2), *((one, other) for one in ood for other in known)])
    if whole := next((one for one in found if one.whole), None):
        raise OodbenchError(
            f"suite {suite.name!r} uses the same images twice: {whole}, whatever the labels say. ID test images, OOD "
            "test images and those that are learned from must be apart: name another set for one of these two"
        )
    return tuple(map(str, found))


def check(images: Mapping[str, ImageSet], suite: Suite, detectors: Sequence[Detector]) -> None:
    """See to it that the sets of a run fit its suite and each other.

    Raises:
        OodbenchError: what does not fit.
    """
    _check_test_labels(images[suite.id.test], suite, detectors)
    if suite.id.train and suite.id.train in images:
        _check_classes(images[suite.id.train], images[suite.id.test])
    for name in dict.fromkeys([suite.id.train, suite.id.test]):
        if name in images:
            _check_count(images[str(name)], suite)
    _check_different(suite, images)


def _require_tests(data: Path, suite: Suite) -> None:
    """Name all test sets that are missing at once; a single one says what to do itself when it is loaded."""
    there = catalogue.names(data)
    missing = [name for name in (suite.id.test, *(ood.set for ood in suite.tested)) if name not in there]
    if len(missing) < 2:
        return
    present = [ood.set for ood in suite.tested if ood.set in there]
    instead = f", or keep to what is there with {' '.join(f'--only {name}' for name in present)}" if present else ""
    raise OodbenchError(
        f"image sets {', '.join(missing)} are missing from {data.absolute()}: try `oodbench data fetch "
        f"{' '.join(missing)}`, say where packs are with --data DIR or OODBENCH_DATA{instead}"
    )


def _check_training(detector: Detector, suite: Suite) -> None:
    if suite.training is None or suite.id.train is None:
        raise OodbenchError(
            f"suite {suite.name!r} does not say how to train a network for {detector.name!r}: give a trained one with "
            "--checkpoint FILE, or add [training] and a train set under [id]"
        )


def lacking(detector: Detector, suite: Suite, trains: bool) -> str:
    """What a detector cannot do without and a suite does not have, in words that follow the detector's name.

    Known from the suite alone, so that nobody learns it after hours of training.

    Args:
        detector: as the suite and the run's settings make it.
        suite: with the run's settings.
        trains: its network is to be trained.

    Returns:
        "" if there is nothing that it lacks.
    """
    tuning = detector.tuning()
    if trains and detector.objective().uses_outliers and suite.outliers is None:
        return f"trains with outliers and suite {suite.name!r} has none: add [outliers] with a set"
    if detector.observes() and suite.id.train is None:
        return f"learns from ID training images and suite {suite.name!r} has none: add a train set under [id]"
    if tuning and tuning.source == "heldout" and not suite.id.heldout:
        return (
            f"is tuned on ID images held out of training and suite {suite.name!r} holds none out: add heldout = N "
            "under [id]"
        )
    if tuning and tuning.outliers and not (suite.outliers and suite.outliers.reserved):
        return (
            f"is tuned on reserved outliers and suite {suite.name!r} has none: add [outliers] with a set and "
            "reserved = N"
        )
    return ""


def _load(data: Path, suite: Suite, name: str) -> ImageSet:
    """The set called `name`; if it is photographs, as the suite's network takes them."""
    return catalogue.load(name, data, suite.network.input_preprocessing())


def _reading_labels(detectors: Sequence[Detector], trains: bool) -> list[str]:
    """What cannot do without the labels of ID training images, for people."""
    reading = [one.name for one in detectors if one.reads_labels and (one.observes() or one.tuning())]
    return ["the network that is to be trained", *reading] if trains else reading


def _load_train(data: Path, suite: Suite, reading_labels: Sequence[str]) -> tuple[ImageSet, ImageSet | None]:
    """The ID training set without what is held out, and that."""
    whole = _load(data, suite, str(suite.id.train))
    if whole.unlabelled and reading_labels:
        raise OodbenchError(
            f"ID set {whole.name!r} carries no labels (-1), and what learns from labelled images is asked for "
            f"({', '.join(reading_labels)}): label them, or give a trained network with --checkpoint FILE and "
            "detectors that need no labels, as `oodbench list detectors` says"
        )
    check_labels(whole, suite)
    # Of a network's classes there may be images of some only, to learn from what it makes of these.
    shown = len(np.unique(whole.labels))
    if len(whole) - suite.id.heldout < shown:
        raise OodbenchError(
            f"ID set {whole.name!r} has {len(whole)} images and suite {suite.name!r} holds out "
            f"{suite.id.heldout}: too few are left to train on {shown} classes"
        )
    rest, heldout = whole.split(suite.id.heldout)
    return rest, heldout if len(heldout) else None


def _load_outliers(data: Path, suite: Suite, outliers: Outliers) -> ImageSet:
    whole = _load(data, suite, outliers.set)
    if len(whole) <= outliers.reserved:
        raise OodbenchError(
            f"outlier set {whole.name!r} has {len(whole)} images and {outliers.reserved} of them are reserved for "
            "validation: lower 'reserved' or take a larger set"
        )
    # Reserved images stand at the front and mining reads neighbours: sorted by class, either would be of one class.
    return whole.mixed()


def check_labels(images: ImageSet, suite: Suite) -> None:
    """See to it that the labels of ID images are all there and fit the suite, or that there are none at all.

    Raises:
        OodbenchError: they do not.
    """
    if images.unlabelled:
        return
    if unknown := int((images.labels < 0).sum()):
        raise OodbenchError(
            f"ID set {images.name!r} has no label (-1) for {unknown} of its {len(images)} images: label them all, or "
            "none: without labels the accuracy of a test set is unknown, and what learns from labels cannot do so"
        )
    lowest, highest = int(images.labels.min()), int(images.labels.max())
    if highest >= suite.id.classes:
        raise OodbenchError(
            f"ID set {images.name!r} has labels from {lowest} to {highest}, but suite {suite.name!r} has "
            f"{suite.id.classes} classes: labels must run from 0 to {suite.id.classes - 1}"
        )


def _check_test_labels(images: ImageSet, suite: Suite, detectors: Sequence[Detector]) -> None:
    """Labels of the ID test set are for its accuracy alone: without any that is unknown, and scores are as ever."""
    check_labels(images, suite)
    for detector in detectors if images.unlabelled else ():
        if (tuning := detector.tuning()) and tuning.source == "id-test" and detector.reads_labels:
            raise OodbenchError(
                f"detector {detector.name!r} is to be tuned on ID test images, and those of {images.name!r} carry no "
                "labels: tune it on images held out of training (--set tuning=heldout), or label them"
            )


def _check_count(images: ImageSet, suite: Suite) -> None:
    """A set that has fewer classes than the suite says gives every class after the missing one another's number."""
    if images.classes and len(images.classes) != suite.id.classes:
        some = ", ".join(images.classes[:12]) + (", ..." if len(images.classes) > 12 else "")
        raise OodbenchError(
            f"ID set {images.name!r} names {len(images.classes)} classes ({some}) and suite {suite.name!r} has "
            f"classes = {suite.id.classes}: labels count folders, so one that is missing or too many shifts all that "
            f"follow; pack all {suite.id.classes} folders again, or say classes = {len(images.classes)} if the network "
            "has so many"
        )


def _check_classes(train: ImageSet, test: ImageSet) -> None:
    """Labels count folders: where one lacks a folder that the other has, the same label means two classes."""
    if train.classes and test.classes and train.classes != test.classes:
        odd = sorted({*train.classes} ^ {*test.classes}) or ["their order"]
        raise OodbenchError(
            f"ID sets {train.name!r} and {test.name!r} have other classes ({', '.join(odd[:5])}), so their labels do "
            "not mean the same: pack both from folders of the same names"
        )


def _check_different(suite: Suite, images: Mapping[str, ImageSet]) -> None:
    id_test = images[suite.id.test]
    for other in images.values():
        if other.images.shape[1:] != id_test.images.shape[1:]:
            sizes = [" x ".join(map(str, each.images.shape[1:3])) for each in (other, id_test)]
            raise OodbenchError(
                f"images of {other.name!r} are {sizes[0]} and those of {id_test.name!r} {sizes[1]} pixels: size alone "
                "would tell them apart; resize them to one size"
            )
    for ood in suite.tested:
        if images[ood.set].fingerprint == id_test.fingerprint:
            raise OodbenchError(
                f"OOD set {ood.set!r} and ID set {id_test.name!r} of suite {suite.name!r} are the same images: "
                "nothing could tell them apart; name another set"
            )
