"""What a run is going to do, checked and counted before anything is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from oodbench import networks, scoring, training
from oodbench.detector import Detector
from oodbench.errors import OodbenchError
from oodbench.files import digest
from oodbench.images import catalogue
from oodbench.images.imageset import ImageSet
from oodbench.networks import checkpoints
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.passes import Passes
from oodbench.registry import Registry, source_digest
from oodbench.settings import Setting, apply
from oodbench.store import Cell
from oodbench.suite import Suite
from oodbench.tasks import ID_TASK, Clean

Pair = tuple[str, str]
"""A task and an image set: one group of scores."""


@dataclass(frozen=True)
class Request:
    """What somebody asked for.

    Attributes:
        suites: to run.
        detectors: classes to run on each.
        seed: of training and attacks.
        device: where networks run.
        data: folder of the image packs.
        out: results folder.
        checkpoint: a trained network for every detector, instead of training.
        limit: first images taken of each ID and OOD set; None for all.
        settings: parameters changed for this run.
        again: do what is already there once more.
    """

    suites: tuple[Suite, ...]
    detectors: tuple[type[Detector], ...]
    seed: int
    device: torch.device
    data: Path
    out: Path
    checkpoint: Path | None = None
    limit: int | None = None
    settings: tuple[Setting, ...] = ()
    again: bool = False


@dataclass(frozen=True, eq=False)
class CellPlan:
    """One detector on one suite with one seed.

    Attributes:
        detector: unfitted.
        cell: its file.
        key: hash of everything known before training that moves a score.
        missing: (task, image set) pairs that the file lacks, going by the network it was made with.
    """

    detector: Detector
    cell: Cell
    key: str
    missing: tuple[Pair, ...]


@dataclass(frozen=True)
class NetworkPlan:
    """One trained network and the cells that score with it.

    Attributes:
        objective: how it is trained.
        outputs: of its last layer.
        file: where it is kept once trained, or the checkpoint.
        given: it is a checkpoint and is not trained.
        cells: detectors whose objective is equal to `objective`.
    """

    objective: Objective
    outputs: int
    file: Path
    given: bool
    cells: tuple[CellPlan, ...]

    @property
    def needed(self) -> bool:
        """Something is left to score with it."""
        return any(cell.missing for cell in self.cells)

    @property
    def to_train(self) -> bool:
        """It must be trained first."""
        return self.needed and not self.file.is_file()


@dataclass(frozen=True)
class SuitePlan:
    """One suite: its images in memory, its networks.

    Attributes:
        suite: with the run's settings applied.
        images: by set name; ID training set and outliers only where something uses them.
        networks: in the order in which they are trained.
    """

    suite: Suite
    images: Mapping[str, ImageSet]
    networks: tuple[NetworkPlan, ...]

    def wanted(self) -> list[Pair]:
        """Every (task, image set) of a cell, in the order in which they are done."""
        return _wanted(self.suite)

    def missing(self, cell: CellPlan, network_digest: str) -> list[Pair]:
        """What a cell's file lacks, or has from another network."""
        return _missing(self.suite, self.images, cell.cell, cell.key, network_digest)

    def group_key(self, cell: CellPlan, network_digest: str, task: str, image_set: str) -> str:
        """The key of one group of scores: it changes whenever anything that moved the scores does."""
        return _group_key(self.suite, self.images, cell.key, network_digest, (task, image_set))

    def is_clean(self, task: str) -> bool:
        """Images are scored as they are, so detectors can share the pass."""
        return task == ID_TASK or isinstance(self.suite.tasks[task], Clean)

    def passes(self) -> Passes:
        """What is left to do here costs this many passes."""
        return sum((self._passes(network) for network in self.networks), Passes())

    def _passes(self, network: NetworkPlan) -> Passes:
        total = Passes()
        if network.to_train and self.suite.training and self.suite.id.train:
            epoch = network.objective.epoch_passes(len(self.images[self.suite.id.train]))
            total += epoch * self.suite.training.epochs
        shared = {pair for cell in network.cells for pair in cell.missing if self.is_clean(pair[0])}
        total += Passes(forward=sum(len(self.images[image_set]) for _, image_set in shared))
        for cell in network.cells:
            for task, image_set in cell.missing:
                if not self.is_clean(task):
                    total += self.suite.tasks[task].passes() * len(self.images[image_set])
        return total


def plan(request: Request, registry: Registry) -> list[SuitePlan]:
    """Everything `request` asks for, validated; nothing is written.

    Raises:
        OodbenchError: a set is missing or broken, a parameter unknown, a checkpoint of another shape, and so on.
    """
    return [_plan_suite(request, suite, registry) for suite in request.suites]


def _plan_suite(request: Request, original: Suite, registry: Registry) -> SuitePlan:
    for name in original.detectors:
        registry[name]  # a misspelt table of parameters would be silently ignored otherwise
    suite, detectors = apply(request.settings, original, request.detectors)
    given = _checkpoint_digest(request)
    images = _load_images(request, suite, detectors)
    cells: dict[Objective, list[CellPlan]] = {}
    for detector in detectors:
        cells.setdefault(detector.objective(), []).append(_plan_cell(request, suite, detector, images, given))
    return SuitePlan(
        suite,
        images,
        tuple(_plan_network(request, suite, objective, images, tuple(group)) for objective, group in cells.items()),
    )


def _plan_network(
    request: Request, suite: Suite, objective: Objective, images: Mapping[str, ImageSet], cells: tuple[CellPlan, ...]
) -> NetworkPlan:
    outputs = suite.id.classes + objective.reject_outputs
    if request.checkpoint:
        checkpoints.load(build_network(suite, outputs, request.seed), request.checkpoint)
        return NetworkPlan(objective, outputs, request.checkpoint, True, cells)
    names = " and ".join(repr(cell.detector.name) for cell in cells)
    if suite.training is None or suite.id.train is None:
        raise OodbenchError(
            f"suite {suite.name!r} does not say how to train a network for {names}: give a trained one with "
            "--checkpoint FILE, or add [training] and a train set under [id]"
        )
    uses_outliers = objective.outlier_batch > 0
    if uses_outliers and suite.outliers is None:
        raise OodbenchError(f"{names} train with outliers and suite {suite.name!r} has none: add [outliers] with a set")
    used = [images[suite.id.train].fingerprint]
    if uses_outliers and suite.outliers:
        used += [images[suite.outliers.set].fingerprint, repr(suite.outliers)]
    recipe = [
        objective.identity,
        source_digest(type(objective), Objective),
        repr(suite.network),
        repr(build_network(suite, outputs, request.seed)),
        repr(suite.training),
        str(request.seed),
    ]
    key = digest(str(training.VERSION), *recipe, *used)
    file = request.out / "networks" / f"{suite.network.name}-{key[:16]}.safetensors"
    return NetworkPlan(objective, outputs, file, False, cells)


def _plan_cell(
    request: Request, suite: Suite, detector: Detector, images: Mapping[str, ImageSet], given: str
) -> CellPlan:
    key = digest(
        suite.fingerprint,
        detector.name,
        json.dumps(asdict(detector.parameters), sort_keys=True),
        source_digest(type(detector), Detector),
        given,
        str(request.seed),
        str(request.limit),
        str(scoring.VERSION),
    )
    cell = Cell(request.out / suite.name / detector.name / f"seed{request.seed}-{key[:12]}.h5")
    if request.again or not cell.path.is_file():
        return CellPlan(detector, cell, key, tuple(_wanted(suite)))
    made_with = str(cell.attributes()["network_digest"])
    return CellPlan(detector, cell, key, tuple(_missing(suite, images, cell, key, made_with)))


def _wanted(suite: Suite) -> list[Pair]:
    return [(ID_TASK, suite.id.test), *((task, ood.set) for task in suite.tasks for ood in suite.ood)]


def _missing(
    suite: Suite, images: Mapping[str, ImageSet], cell: Cell, cell_key: str, network_digest: str
) -> list[Pair]:
    return [
        pair for pair in _wanted(suite) if cell.key(*pair) != _group_key(suite, images, cell_key, network_digest, pair)
    ]


def _group_key(suite: Suite, images: Mapping[str, ImageSet], cell_key: str, network_digest: str, pair: Pair) -> str:
    task, image_set = pair
    return digest(cell_key, network_digest, task, images[suite.id.test].fingerprint, images[image_set].fingerprint)


def build_network(suite: Suite, outputs: int, seed: int) -> Network:
    """The suite's network with fresh weights that depend on `seed` only."""
    spec = suite.network
    return networks.build(spec.name, outputs, mean=spec.mean, std=spec.std, seed=seed)


def _checkpoint_digest(request: Request) -> str:
    if request.checkpoint is None:
        return ""
    if not request.checkpoint.is_file():
        raise OodbenchError(f"there is no checkpoint {request.checkpoint}: give --checkpoint the path of a file")
    return digest(request.checkpoint.read_bytes())


def _load_images(request: Request, suite: Suite, detectors: Sequence[Detector]) -> dict[str, ImageSet]:
    trains = request.checkpoint is None
    fits = any(type(detector).fit is not Detector.fit for detector in detectors)
    names = [suite.id.test, *(ood.set for ood in suite.ood)]
    if suite.id.train and (trains or fits):
        names.append(suite.id.train)
    images = {name: catalogue.load(name, request.data).first(request.limit) for name in names}
    if suite.outliers and trains and any(detector.objective().outlier_batch for detector in detectors):
        outliers = images[suite.outliers.set] = catalogue.load(suite.outliers.set, request.data)
        if len(outliers) <= suite.outliers.reserved:
            raise OodbenchError(
                f"outlier set {outliers.name!r} has {len(outliers)} images and suite {suite.name!r} reserves "
                f"{suite.outliers.reserved} of them for validation: lower 'reserved' or take a larger set"
            )
    for name in {suite.id.test, suite.id.train} & images.keys():
        _check_labels(images[str(name)], suite)
    _check_different(suite, images)
    return images


def _check_labels(images: ImageSet, suite: Suite) -> None:
    lowest, highest = int(images.labels.min()), int(images.labels.max())
    if lowest < 0 or highest >= suite.id.classes:
        raise OodbenchError(
            f"ID set {images.name!r} has labels from {lowest} to {highest}, but suite {suite.name!r} has "
            f"{suite.id.classes} classes: labels must run from 0 to {suite.id.classes - 1}"
        )


def _check_different(suite: Suite, images: Mapping[str, ImageSet]) -> None:
    id_test = images[suite.id.test]
    for ood in suite.ood:
        if images[ood.set].fingerprint == id_test.fingerprint:
            raise OodbenchError(
                f"OOD set {ood.set!r} and ID set {id_test.name!r} of suite {suite.name!r} are the same images: "
                "nothing could tell them apart; name another set"
            )
