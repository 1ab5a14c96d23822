"""A detector fitted on a suite to go to work: what that takes, and which ID images its thresholds are chosen on.

A promise about ID images to come rests on ID images that neither the network nor the detector has seen. Those that a
suite holds out of training are such images, if the network's file proves it and the detector does not tune itself on
them. Otherwise one half of the ID test images serves, the same one for every detector, and figures are for the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.basics.progress import counted_in_all
from oodbench.basics.threads import on_threads
from oodbench.detector import Detector
from oodbench.images import catalogue
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack
from oodbench.images.preprocessing import Preprocessing
from oodbench.networks.named import AT, IN_MEMORY
from oodbench.networks.network import Network
from oodbench.registry import Registry
from oodbench.results.tables.operating import chooses_threshold
from oodbench.running import network_provenance
from oodbench.running.fitting_images import fitting_images
from oodbench.running.plan import CellPlan, NetworkPlan, SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Demands, Machinery, Request
from oodbench.running.train_or_load import provide
from oodbench.scoring.deployed import Built, DeployedDetector, Input, scores_of
from oodbench.scoring.deploying import tunes_on_heldout
from oodbench.scoring.fitting import fit
from oodbench.scoring.given_sets import require_unseen
from oodbench.scoring.user_input import Given, as_given
from oodbench.sources.handed import take_images
from oodbench.suite import Suite
from oodbench.training.suite_network import plain_network

AUTO, HELDOUT, TEST = "auto", "heldout", "test"
"""What thresholds may be chosen on, beside files of somebody's own."""


@dataclass(frozen=True)
class Calibration:
    """ID images that thresholds are chosen on.

    Attributes:
        images: these.
        what: they are, in words.
    """

    images: Given
    what: str


@dataclass(frozen=True)
class Deployment:
    """A detector that is to be fitted.

    Attributes:
        plan: of the suite.
        machinery: what calculates.
        calibration: what its thresholds are chosen on.
    """

    plan: SuitePlan
    machinery: Machinery
    calibration: Calibration

    @property
    def network(self) -> NetworkPlan:
        """What it is fitted on."""
        (network,) = self.plan.networks
        return network

    @property
    def cell(self) -> CellPlan:
        """The detector, unfitted."""
        (cell,) = self.network.cells
        return cell

    def passes(self) -> Passes:
        """What it costs."""
        detector, train = self.cell.detector, self.plan.suite.id.train
        total = self.plan.training(self.network) + self.plan.tuning(detector)
        if detector.observes() and train:
            total += Passes(forward=len(self.plan.images[train]))
        return total + (Passes(forward=1) + detector.own_passes()) * len(self.calibration.images.images)

    def carry_out(self, say: Callable[[str], None]) -> DeployedDetector:
        """The detector, fitted.

        Raises:
            OodbenchError: it cannot be fitted.
            StorageError: the network was to be trained, and cannot be kept.
        """
        with counted_in_all(self.passes().both), on_threads(self.network.threads):
            network = provide(self.plan, self.network, self.machinery, say)
            return self._fitted(network)

    def _fitted(self, network: Network) -> DeployedDetector:
        suite, detector = self.plan.suite, self.cell.detector
        shown = fitting_images(self.plan, [detector], self.machinery.device)
        (outcome,) = fit([detector], network, suite.id.classes, shown)
        about = self._about() | ({"tuned": outcome.tuned | self._perhaps_seen()} if outcome.tuned else {})
        _, height, width = self.plan.image_sets.shape(suite)
        return DeployedDetector(
            detector,
            Input.of(network, (height, width), preprocessing(suite, (height, width))),
            about,
            scores_of(detector, self.calibration.images),
            self._built(network),
        )

    def _built(self, network: Network) -> Built | None:
        """How the network is made again; None where nothing does that, for a module in memory."""
        suite, objective = self.plan.suite, self.cell.detector.objective()
        spec, outputs = suite.network, suite.id.classes + objective.reject_outputs
        if spec.name.startswith(f"{IN_MEMORY}{AT}"):
            return None
        plain = plain_network(suite, objective, self.plan.seed, self.plan.image_sets.shape(suite))
        beside = type(network) is not type(plain)
        return Built(spec.name, outputs, spec.mean, spec.std, beside, spec.head, spec.taps)

    def _about(self) -> dict[str, Any]:
        """What it was fitted on, in JSON's types."""
        suite, network, train = self.plan.suite, self.network, self.plan.suite.id.train
        about: dict[str, Any] = {
            "suite": f"{suite.name}, version {suite.version}, fingerprint {suite.fingerprint}",
            "seed": self.plan.seed,
            "limit": self.plan.sample.limit or 0,
            "settings": [setting.text for setting in self.plan.settings],
            "network": {
                "file": network.file.name,
                "pretrained": network.pretrained.name if network.pretrained else "",
                "trained_on": network_provenance.trained_on(network.file),
            },
            "calibration": {**_named(self.calibration.images.images), "what": self.calibration.what},
        }
        if self.cell.detector.observes() and train:
            about["train"] = _named(self.plan.images[train])
        return about

    def _perhaps_seen(self) -> dict[str, Any]:
        tuning = self.cell.detector.tuning()
        if tuning is None:
            return {}
        file, images = self.network.file, self.plan.image_sets
        return {"perhaps_seen": network_provenance.perhaps_seen(file, self.plan.suite, images, tuning)}


def _named(images: ImageSet) -> dict[str, Any]:
    return {"set": images.name, "images": len(images), "fingerprint": images.fingerprint}


def deployment(request: Request, registry: Registry, calibrate: str = AUTO) -> Deployment:
    """A detector on a suite, planned; nothing is written.

    The suite's OOD test sets are not looked at, and need not be there.

    Args:
        request: of one suite and one detector.
        registry: the detectors.
        calibrate: "heldout", "test" or "auto", see this module; or a folder, archive or pack of ID images.

    Raises:
        OodbenchError: something that was asked for is not there or not possible.
    """
    (original,) = request.suites
    asked = replace(request, suites=(replace(original, ood=(), only=()),), demands=Demands(again=True))
    (planned,) = plan(asked, registry)
    planned = replace(planned, suite=replace(planned.suite, ood=original.ood))
    (network,) = planned.networks
    (cell,) = network.cells
    return Deployment(planned, request.machinery, _calibration(calibrate, planned, network, cell.detector))


def preprocessing(suite: Suite, side: tuple[int, int]) -> Preprocessing | None:
    """How image files become what the suite's network takes; None where nothing says it for images of that size."""
    found = suite.network.input_preprocessing()
    if found is None:
        return None
    if side == (found.side, found.side):
        return found
    return replace(found, side=side[0]) if side[0] == side[1] else None


def _calibration(asked: str, planned: SuitePlan, network: NetworkPlan, detector: Detector) -> Calibration:
    test = planned.images[planned.suite.id.test]
    if asked not in (AUTO, HELDOUT, TEST):
        found = _own(asked, planned, test)
        require_unseen(found.images.images, f"--calibrate {asked}", _learned(planned, detector))
        return found
    tuning = detector.tuning()
    if asked == TEST or (asked == AUTO and not _unseen(planned, network, detector)):
        if tuning is not None and tuning.source == "id-test":
            raise OodbenchError(
                f"{detector.name} is tuned on the ID test images, so these cannot say what it does on new ones: give "
                "other ID images by --calibrate FOLDER, or leave tuning=id-test out"
            )
        return Calibration(
            Given(_half(test)), f"one half of the ID test images {test.name}: report figures on the other"
        )
    heldout, _ = _heldout(planned)
    if heldout is None:
        raise OodbenchError(
            f"suite {planned.suite.name!r} holds no ID images out of training, or has no training set here: calibrate "
            "on the test images (--calibrate test) or on ID images of your own (--calibrate FOLDER)"
        )
    if tunes_on_heldout(detector):
        raise OodbenchError(
            f"{detector.name} tunes itself on the held-out ID images, so these cannot say what it does on new ones: "
            "calibrate on the test images (--calibrate test) or on ID images of your own (--calibrate FOLDER)"
        )
    known = _unseen(planned, network, detector)
    doubt = "" if known else "; not known to be held out of the network's training"
    return Calibration(Given(heldout), f"ID images held out of training{doubt}")


def _unseen(planned: SuitePlan, network: NetworkPlan, detector: Detector) -> bool:
    """The held-out ID images are there, and are known to be unseen by the network and by the detector."""
    heldout, fingerprint = _heldout(planned)
    if heldout is None or tunes_on_heldout(detector):
        return False
    if network.to_train:
        about = network_provenance.kept_out(planned.suite, planned.image_sets, network.objective, network.start)
    else:
        about = dict(network_provenance.metadata(network.file))
    return about.get(network_provenance.HELD_OUT) == fingerprint


def _heldout(planned: SuitePlan) -> tuple[ImageSet | None, str]:
    """The suite's held-out ID images, as many as the run takes, and the fingerprint of all; None where none are."""
    if planned.image_sets.heldout is not None:
        return planned.image_sets.heldout, planned.image_sets.held_out
    _, heldout = _train(planned) if planned.suite.id.heldout else (None, None)
    return (heldout.spread(planned.sample.limit), heldout.fingerprint) if heldout else (None, "")


def _train(planned: SuitePlan) -> tuple[ImageSet | None, ImageSet | None]:
    """The whole ID training set without what is held out, and that; None where the set is not here."""
    identity, data = planned.suite.id, planned.sample.data
    if not identity.train or identity.train not in catalogue.names(data):
        return None, None
    spec = planned.suite.network
    whole = catalogue.load(identity.train, data, spec.input_preprocessing())
    return whole.split(identity.heldout)


def _learned(planned: SuitePlan, detector: Detector) -> dict[str, ImageSet | None]:
    """What network or detector learn from, by what messages call it."""
    suite = planned.suite
    train, heldout = _train(planned)
    found = {f"the ID training set {suite.id.train}": train}
    if tunes_on_heldout(detector):
        found["those held out of training, which the detector tunes on"] = heldout
    if (tuning := detector.tuning()) and tuning.source == "id-test":
        found["the ID test set, which the detector is tuned on"] = planned.images[suite.id.test]
    if suite.outliers:
        found[f"the outliers {suite.outliers.set}"] = planned.image_sets.images.get(suite.outliers.set)
    return found


def _half(test: ImageSet) -> ImageSet:
    chosen = chooses_threshold(test.indices)
    return replace(test, images=test.images[chosen], labels=test.labels[chosen], indices=test.indices[chosen])


def _own(asked: str, planned: SuitePlan, test: ImageSet) -> Calibration:
    """ID images of somebody's own, in a folder, an archive or a pack."""
    path, (height, width) = Path(asked), test.images.shape[1:3]
    if not path.exists():
        raise OodbenchError(
            f"--calibrate {asked}: there is no such file; give {HELDOUT}, {TEST}, or a folder, archive or pack of ID "
            "images"
        )
    taken = preprocessing(planned.suite, (height, width))
    if path.is_file() and h5py.is_hdf5(path):
        given = Given(read_pack(path, path.stem, taken or Preprocessing(side=height)))
    else:
        given = as_given(take_images(path, "--calibrate", path.stem, taken).images, "--calibrate", path.stem)
    found = given.images.images.shape[1:3]
    if found != (height, width):
        raise OodbenchError(
            f"images of {asked} are {found[0]} x {found[1]}, and the suite's are {height} x {width}: bring them to "
            "that size"
        )
    return Calibration(given, f"ID images of {path.name}, unseen by the word of whoever gave them")
