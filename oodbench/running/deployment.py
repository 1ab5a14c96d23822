"""Fitting a detector on a suite for use outside a benchmark, and choosing ID images for its thresholds.

A promise about ID images to come rests on ID images that neither the network nor the detector has seen. Those that a
suite holds out of training are such images, if the network's file proves it and the detector does not tune itself on
them. Otherwise one half of the ID test images serves, the same half for every detector, and figures are to be reported
on the other half.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
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
from oodbench.running import network_provenance, plan_cost
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
"""Values of `--calibrate`: where the images come from that thresholds are chosen on, beside files of a user's own."""


@dataclass(frozen=True)
class Calibration:
    """ID images that thresholds are chosen on.

    Attributes:
        images: the images.
        what: a description of the images, for people.
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
        """The network that it is fitted on."""
        (network,) = self.plan.networks
        return network

    @property
    def cell(self) -> CellPlan:
        """The detector, unfitted."""
        (cell,) = self.network.cells
        return cell

    def passes(self) -> Passes:
        """The passes that training, fitting and scoring the calibration images take."""
        detector, train = self.cell.detector, self.plan.suite.id.train
        total = plan_cost.training_passes(self.plan, self.network) + plan_cost.tuning_passes(self.plan, detector)
        if detector.observes() and train:
            total += Passes(forward=len(self.plan.images[train]))
        return total + (Passes(forward=1) + detector.own_passes()) * len(self.calibration.images.images)

    def carry_out(self, say: Say) -> DeployedDetector:
        """Fit the detector, and train its network first if need be.

        Raises:
            OodbenchError: it cannot be fitted.
            StorageError: the network was trained and cannot be written.
        """
        with counted_in_all(self.passes().both), on_threads(self.network.threads):
            network = provide(self.plan, self.network, self.machinery, say)
            return self._fit(network)

    def _fit(self, network: Network) -> DeployedDetector:
        suite, detector = self.plan.suite, self.cell.detector
        learned_from = fitting_images(self.plan, [detector], self.machinery.device)
        (outcome,) = fit([detector], network, suite.id.classes, learned_from)
        about = self._provenance() | ({"tuned": outcome.tuned | self._perhaps_seen()} if outcome.tuned else {})
        _, height, width = self.plan.image_sets.shape(suite)
        return DeployedDetector(
            detector,
            Input.of(network, (height, width), preprocessing(suite, (height, width))),
            about,
            scores_of(detector, self.calibration.images),
            self._built(network),
        )

    def _built(self, network: Network) -> Built | None:
        """The description by which the network can be built again; None for a module in memory, which cannot."""
        suite, objective = self.plan.suite, self.cell.detector.objective()
        spec, outputs = suite.network, suite.id.classes + objective.reject_outputs
        if spec.name.startswith(f"{IN_MEMORY}{AT}"):
            return None
        plain = plain_network(suite, objective, self.plan.seed, self.plan.image_sets.shape(suite))
        beside = type(network) is not type(plain)
        return Built(spec.name, outputs, spec.mean, spec.std, beside, spec.head, spec.taps)

    def _provenance(self) -> dict[str, Any]:
        """The provenance of the fitted detector, in JSON's types."""
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
            "calibration": {**_set_provenance(self.calibration.images.images), "what": self.calibration.what},
        }
        if self.cell.detector.observes() and train:
            about["train"] = _set_provenance(self.plan.images[train])
        return about

    def _perhaps_seen(self) -> dict[str, Any]:
        tuning = self.cell.detector.tuning()
        if tuning is None:
            return {}
        file, images = self.network.file, self.plan.image_sets
        return {"perhaps_seen": network_provenance.perhaps_seen(file, self.plan.suite, images, tuning)}


def _set_provenance(images: ImageSet) -> dict[str, Any]:
    return {"set": images.name, "images": len(images), "fingerprint": images.fingerprint}


def deployment(request: Request, registry: Registry, calibrate: str = AUTO) -> Deployment:
    """Plan a detector on a suite; nothing is written.

    The suite's OOD test sets are not used, and need not be there.

    Args:
        request: of one suite and one detector.
        registry: the detectors.
        calibrate: "heldout", "test" or "auto", see this module; or a folder, archive or pack of ID images.

    Raises:
        OodbenchError: something that was asked for is missing or not possible.
    """
    (original,) = request.suites
    without_ood = replace(request, suites=(replace(original, ood=(), only=()),), demands=Demands(again=True))
    (planned,) = plan(without_ood, registry)
    planned = replace(planned, suite=replace(planned.suite, ood=original.ood))
    (network,) = planned.networks
    (cell,) = network.cells
    return Deployment(planned, request.machinery, _calibration(calibrate, planned, network, cell.detector))


def preprocessing(suite: Suite, side: tuple[int, int]) -> Preprocessing | None:
    """The preprocessing of image files for the suite's network; None where none is known for images of that size."""
    known = suite.network.input_preprocessing()
    if known is None:
        return None
    if side == (known.side, known.side):
        return known
    return replace(known, side=side[0]) if side[0] == side[1] else None


def _calibration(calibrate: str, planned: SuitePlan, network: NetworkPlan, detector: Detector) -> Calibration:
    """The images that thresholds are chosen on, see `deployment`."""
    test = planned.images[planned.suite.id.test]
    if calibrate not in (AUTO, HELDOUT, TEST):
        calibration = _calibration_from_file(calibrate, planned, test)
        require_unseen(calibration.images.images, f"--calibrate {calibrate}", _learning_sets(planned, detector))
        return calibration
    if calibrate == TEST or (calibrate == AUTO and not _heldout_is_unseen(planned, network, detector)):
        return _calibration_on_test(test, detector)
    return _calibration_on_heldout(planned, network, detector)


def _calibration_on_test(test: ImageSet, detector: Detector) -> Calibration:
    tuning = detector.tuning()
    if tuning is not None and tuning.source == "id-test":
        raise OodbenchError(
            f"{detector.name} is tuned on the ID test images, so these cannot say what it does on new ones: give "
            "other ID images by --calibrate FOLDER, or leave tuning=id-test out"
        )
    return Calibration(Given(_half(test)), f"one half of the ID test images {test.name}: report figures on the other")


def _calibration_on_heldout(planned: SuitePlan, network: NetworkPlan, detector: Detector) -> Calibration:
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
    unseen = _heldout_is_unseen(planned, network, detector)
    doubt = "" if unseen else "; not known to be held out of the network's training"
    return Calibration(Given(heldout), f"ID images held out of training{doubt}")


def _heldout_is_unseen(planned: SuitePlan, network: NetworkPlan, detector: Detector) -> bool:
    """True if held-out ID images are there and are known to be unseen by the network and by the detector."""
    heldout, fingerprint = _heldout(planned)
    if heldout is None or tunes_on_heldout(detector):
        return False
    if network.to_train:
        about = network_provenance.unseen_metadata(planned.suite, planned.image_sets, network.objective, network.start)
    else:
        about = dict(network_provenance.metadata(network.file))
    return about.get(network_provenance.HELD_OUT) == fingerprint


def _heldout(planned: SuitePlan) -> tuple[ImageSet | None, str]:
    """The suite's held-out ID images, as many as the run takes, and the fingerprint of all; None and "" without any."""
    if planned.image_sets.heldout is not None:
        return planned.image_sets.heldout, planned.image_sets.held_out
    _, heldout = _split_training_set(planned) if planned.suite.id.heldout else (None, None)
    return (heldout.spread(planned.sample.limit), heldout.fingerprint) if heldout else (None, "")


def _split_training_set(planned: SuitePlan) -> tuple[ImageSet | None, ImageSet | None]:
    """The whole ID training set without the held-out images, and these; None where the set is not here."""
    identity, data = planned.suite.id, planned.sample.data
    if not identity.train or identity.train not in catalogue.names(data):
        return None, None
    spec = planned.suite.network
    whole = catalogue.load(identity.train, data, spec.input_preprocessing())
    return whole.split(identity.heldout)


def _learning_sets(planned: SuitePlan, detector: Detector) -> dict[str, ImageSet | None]:
    """The image sets that the network or the detector learns from, by their names in messages."""
    suite = planned.suite
    train, heldout = _split_training_set(planned)
    sets = {f"the ID training set {suite.id.train}": train}
    if tunes_on_heldout(detector):
        sets["those held out of training, which the detector tunes on"] = heldout
    if (tuning := detector.tuning()) and tuning.source == "id-test":
        sets["the ID test set, which the detector is tuned on"] = planned.images[suite.id.test]
    if suite.outliers:
        sets[f"the outliers {suite.outliers.set}"] = planned.image_sets.images.get(suite.outliers.set)
    return sets


def _half(test: ImageSet) -> ImageSet:
    """The half of the ID test images that thresholds are chosen on."""
    chosen = chooses_threshold(test.indices)
    return replace(test, images=test.images[chosen], labels=test.labels[chosen], indices=test.indices[chosen])


def _calibration_from_file(calibrate: str, planned: SuitePlan, test: ImageSet) -> Calibration:
    """A user's own ID images, in a folder, an archive or a pack."""
    path, (height, width) = Path(calibrate), test.images.shape[1:3]
    if not path.exists():
        raise OodbenchError(
            f"--calibrate {calibrate}: there is no such file; give {HELDOUT}, {TEST}, or a folder, archive or pack of "
            "ID images"
        )
    prepared = preprocessing(planned.suite, (height, width))
    if path.is_file() and h5py.is_hdf5(path):
        given = Given(read_pack(path, path.stem, prepared or Preprocessing(side=height)))
    else:
        given = as_given(take_images(path, "--calibrate", path.stem, prepared).images, "--calibrate", path.stem)
    size = given.images.images.shape[1:3]
    if size != (height, width):
        raise OodbenchError(
            f"images of {calibrate} are {size[0]} x {size[1]}, and the suite's are {height} x {width}: bring them to "
            "that size"
        )
    return Calibration(given, f"ID images of {path.name}, unseen by the word of whoever gave them")
