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
from oodbench.images.overlap import Contents, Overlap, Repeats, contents, overlaps, repeats
from oodbench.networks.feature_packs import FeaturePack
from oodbench.objective import Objective
from oodbench.running.image_checks import check, check_labels
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
            them; empty unless kept networks are to be compared with them.
        limit: how many images of each ID and OOD set a run takes; None for all.
        pack: a feature pack that the images come from, which has a network's outputs in place of pixels; None where
            the images themselves are at hand.
        shared: which images of a set are also in another set that it should share none with, and which test sets
            repeat images of their own.
    """

    images: Mapping[str, ImageSet]
    heldout: ImageSet | None
    unlike: tuple[str, ...] = ()
    held_out: str = ""
    trained_on: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    pack: FeaturePack | None = None
    shared: tuple[Overlap | Repeats, ...] = ()

    def shape(self, suite: Suite) -> tuple[int, int, int]:
        """(C, H, W) of the suite's images."""
        height, width, channels = self.images[suite.id.test].images.shape[1:]
        return channels, height, width

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the images take; image files take next to none."""
        sets = [*self.images.values(), *filter(None, [self.heldout])]
        return sum(image_set.images.nbytes for image_set in sets if isinstance(image_set.images, np.ndarray))

    def images_note(self, name: str, suite: Suite) -> str:
        """What must be said of the images of a test set wherever its figures stand, in words; "" for nothing.

        What the ID test set shares with an OOD set is said of that alone: figures on other sets do not rest on it.
        """
        elsewhere = {ood.set for ood in suite.ood} if name == suite.id.test else set[str]()
        return "; ".join(
            found.warning for found in self.shared if name in found.sets and not elsewhere.intersection(found.sets)
        )

    def tuning_images(self, tuning: Tuning, suite: Suite) -> int:
        """The number of images, ID and outliers, that `tuning` gets."""
        id_images = self.images[suite.id.test] if tuning.source == "id-test" else self.heldout
        outliers = suite.outliers.reserved if tuning.outliers and suite.outliers else 0
        return min(len(id_images) if id_images else 0, tuning.images) + min(outliers, tuning.images)

    def reserved(self, suite: Suite) -> str:
        """Fingerprint of the suite's reserved outliers; "" where there are none, or nothing uses them."""
        outliers = suite.outliers
        if outliers is None or not outliers.reserved or outliers.set not in self.images:
            return ""
        return self.images[outliers.set].first(outliers.reserved).fingerprint

    def learned_from(self, detector: Detector, suite: Suite) -> list[str]:
        """Fingerprints of the image sets that fitting shows `detector`; its network may be trained on others."""
        used = [self.images[suite.id.train]] if detector.observes() and suite.id.train else []
        if tuning := detector.tuning():
            used += [self.heldout] if tuning.source == "heldout" and self.heldout else []
            used += [self.images[suite.outliers.set]] if tuning.outliers and suite.outliers else []
        return [image_set.fingerprint for image_set in used]


def validation_suite(suite: Suite) -> Suite:
    """The suite with held-out ID images and reserved outliers in place of its test sets, to choose parameters on.

    Raises:
        OodbenchError: the suite keeps no such images.
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
    """The images of the suite's sets that a run uses.

    Attributes:
        data: folder of the image packs.
        limit: how many images of each ID and OOD set, of each label its share, evenly spread; None for all.
        images: how many images of each OOD set, in the same way; None for all.
        validation: held-out ID images and reserved outliers take the place of the test sets.
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
    """Load the images that `detectors` on `suite` use, and no others.

    Args:
        sample: which images.
        suite: with its settings.
        detectors: of the run.
        trained: those of their objectives for which networks are to be trained.
        pretrained: the objectives whose networks are kept; None where nobody asked for kept networks. The images that
            these networks were trained on are loaded for comparison where they are at hand, and not missed otherwise.

    Raises:
        OodbenchError: a set is missing, broken or does not fit the others, or the suite keeps nothing of a kind that a
            detector learns from.
    """
    training = [detector for detector in detectors if detector.objective() in trained]
    for detector in training:
        _check_training(detector, suite)
    for detector in detectors:
        if lack := lacking(detector, suite, detector in training):
            raise OodbenchError(f"detector {detector.name!r} {lack}")
    learning = _load_learning_sets(sample, suite, detectors, training, pretrained)
    if sample.validation and learning.heldout and suite.outliers:
        reserved = learning.images[suite.outliers.set].first(suite.outliers.reserved)
        tests = [learning.heldout.called(suite.id.test), reserved.called(suite.ood[0].set)]
        shared = _shared_images(suite, learning.contents, [])  # the tests are parts of these
    else:
        _require_tests(sample.data, suite)
        tests = [_load(sample.data, suite, name) for name in (suite.id.test, *(ood.set for ood in suite.tested))]
        shared = _shared_images(suite, learning.contents, tests)
    tests = [tests[0], *(test.spread(sample.limit).spread(sample.images) for test in tests[1:])]
    images = {**learning.images, **{test.name: test.spread(sample.limit) for test in tests}}
    check(images, suite, detectors)
    differences = [pack_difference(name, sample.data) for name in images if name not in BUILTINS]
    return ImageSets(
        images,
        learning.heldout,
        tuple(difference for difference in differences if difference),
        learning.held_out,
        learning.trained_on,
        sample.limit,
        shared=shared,
    )


@dataclass(frozen=True)
class _LearningSets:
    """The sets that networks and detectors learn from, as `ImageSets` has them, and the contents of whole sets."""

    images: Mapping[str, ImageSet]
    heldout: ImageSet | None
    held_out: str
    trained_on: Mapping[str, str]
    contents: Sequence[Contents]


def _load_learning_sets(
    sample: Sample,
    suite: Suite,
    detectors: Sequence[Detector],
    training: Sequence[Detector],
    pretrained: Collection[Objective] | None,
) -> _LearningSets:
    """Load the ID training set and the outliers, each where something uses it; see `gather`.

    Args:
        sample: which images.
        suite: with its settings.
        detectors: of the run.
        training: those of them whose networks are to be trained.
        pretrained: as `gather`.
    """
    available = catalogue.names(sample.data) if pretrained else []
    tunings = [tuning for detector in detectors if (tuning := detector.tuning())]
    learns = any(detector.observes() for detector in detectors) or any(tuning.source == "heldout" for tuning in tunings)
    exposes = any(detector.objective().uses_outliers for detector in training)
    if suite.outliers and suite.outliers.set in available:
        exposes |= any(objective.uses_outliers for objective in pretrained or ())
    images, heldout, held_out = dict[str, ImageSet](), None, ""
    trained_on, set_contents = dict[str, str](), list[Contents]()
    if suite.id.train and (training or learns or sample.validation or suite.id.train in available):
        whole, heldout = _load_train(sample.data, suite, _label_readers(detectors, bool(training)))
        images[suite.id.train] = whole.spread(sample.limit)
        set_contents.append(contents(whole).joined_with(contents(heldout)) if heldout else contents(whole))
        trained_on |= {suite.id.train: whole.fingerprint} if pretrained is not None else {}
        held_out = heldout.fingerprint if heldout else ""
        heldout = heldout.spread(sample.limit) if heldout else None
    if suite.outliers and (exposes or any(tuning.outliers for tuning in tunings) or sample.validation):
        outliers = _load_outliers(sample.data, suite, suite.outliers)
        images[suite.outliers.set] = outliers
        set_contents.append(contents(outliers))
        trained_on |= {suite.outliers.set: outliers.fingerprint} if pretrained is not None else {}
    return _LearningSets(images, heldout, held_out, trained_on, set_contents)


def _shared_images(
    suite: Suite, learned: Sequence[Contents], tests: Sequence[ImageSet]
) -> tuple[Overlap | Repeats, ...]:
    """What sets share that are used in different ways, and what test sets repeat.

    Args:
        suite: that uses them.
        learned: contents of the whole sets that something learns from.
        tests: the ID test set and the OOD sets, whole; OOD sets may share images with each other.

    Raises:
        OodbenchError: all images of a set are in another.
    """
    id_test, ood = [contents(test) for test in tests[:1]], [contents(test) for test in tests[1:]]
    known = [*learned, *id_test]
    found = overlaps([*combinations(known, 2), *((test, other) for test in ood for other in known)])
    if whole := next((overlap for overlap in found if overlap.whole), None):
        raise OodbenchError(
            f"suite {suite.name!r} uses the same images twice: {whole}, whatever the labels say. ID test images, OOD "
            "test images and those that are learned from must be apart: name another set for one of these two"
        )
    return (*found, *filter(None, map(repeats, [*id_test, *ood])))


def _require_tests(data: Path, suite: Suite) -> None:
    """Raise OodbenchError that names all missing test sets at once; a single missing one is reported by its loading."""
    available = catalogue.names(data)
    missing = [name for name in (suite.id.test, *(ood.set for ood in suite.tested)) if name not in available]
    if len(missing) < 2:
        return
    present = [ood.set for ood in suite.tested if ood.set in available]
    instead = f", or keep to what is there with {' '.join(f'--only {name}' for name in present)}" if present else ""
    raise OodbenchError(
        f"image sets {', '.join(missing)} are missing from {data.absolute()}: fetch those that are public (`oodbench "
        f"data fetch {' '.join(missing)}`), put their packs there, say where packs are with --data DIR or "
        f"OODBENCH_DATA{instead}"
    )


def _check_training(detector: Detector, suite: Suite) -> None:
    if suite.training is None or suite.id.train is None:
        raise OodbenchError(
            f"suite {suite.name!r} does not say how to train a network for {detector.name!r}: give a trained one with "
            "--checkpoint FILE, or add [training] and a train set under [id]"
        )


def lacking(detector: Detector, suite: Suite, trains: bool) -> str:
    """The lack that keeps a detector from a suite, in words that follow the detector's name.

    The suite alone decides it, so that nobody learns it after hours of training.

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


def _label_readers(detectors: Sequence[Detector], trains: bool) -> list[str]:
    """Names of what needs the labels of ID training images, for people."""
    readers = [
        detector.name for detector in detectors if detector.reads_labels and (detector.observes() or detector.tuning())
    ]
    return ["the network that is to be trained", *readers] if trains else readers


def _load_train(data: Path, suite: Suite, label_readers: Sequence[str]) -> tuple[ImageSet, ImageSet | None]:
    """The ID training set without the images that are held out, and the held-out images; None where none are."""
    whole = _load(data, suite, str(suite.id.train))
    if whole.unlabelled and label_readers:
        raise OodbenchError(
            f"ID set {whole.name!r} carries no labels (-1), and what learns from labelled images is asked for "
            f"({', '.join(label_readers)}): label them, or give a trained network with --checkpoint FILE and "
            "detectors that need no labels, as `oodbench list detectors` says"
        )
    check_labels(whole, suite)
    # The set may have images of only some of the network's classes, where detectors learn from its features. So as many
    # images must be left as there are classes with images, not as the suite has classes.
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
    # Reserved images are the first ones, and mining reads neighbours: in a set sorted by class, all of them would be of
    # one class.
    return whole.mixed()
