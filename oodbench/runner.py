"""Carrying out a plan: train, fit, score every task and set, store."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import torch
from filelock import FileLock

from oodbench import training
from oodbench.detector import Detector, IDImages
from oodbench.images.imageset import ImageSet
from oodbench.networks import checkpoints
from oodbench.networks.network import Network
from oodbench.objective import OutlierPool
from oodbench.plan import CellPlan, NetworkPlan, Request, SuitePlan, build_network
from oodbench.provenance import machine
from oodbench.scoring import Scored, refuse_constant, score_altered, score_clean
from oodbench.store import Scores
from oodbench.tasks import ID_TASK

Say = Callable[[str], None]
"""Told what is being done, a line at a time."""


def execute(request: Request, plans: Sequence[SuitePlan], say: Say) -> None:
    """Do what is missing in `plans`. What is finished is on disk at once: an interrupted run loses one group."""
    for plan in plans:
        for network_plan in plan.networks:
            if network_plan.needed:
                say(f"{plan.suite.name}: {', '.join(cell.detector.name for cell in network_plan.cells)}")
                _NetworkRun(request, plan, network_plan, _network(request, plan, network_plan, say)).score_all()


def _network(request: Request, plan: SuitePlan, network_plan: NetworkPlan, say: Say) -> Network:
    """The trained network of a plan: read where it exists, else trained and kept. Two processes train it once."""
    network = build_network(plan.suite, network_plan.outputs, request.seed).to(request.device)
    if not network_plan.given:
        file = network_plan.file
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.parent / f".{file.stem}.lock"):
            if not file.is_file():
                _train(request, plan, network_plan, network)
                say(f"network kept in {file}")
    # Read back after training too, so that a first run and a resumed one score the very same weights.
    checkpoints.load(network, network_plan.file)
    return network.eval()


def _train(request: Request, plan: SuitePlan, network_plan: NetworkPlan, network: Network) -> None:
    suite, file = plan.suite, network_plan.file
    assert suite.training is not None and suite.id.train is not None  # a plan without them does not train
    train_set = _resident(plan.images[suite.id.train], request.device)
    outliers = None
    if network_plan.objective.outlier_batch and suite.outliers:
        pool = _resident(plan.images[suite.outliers.set], request.device)
        outliers = OutlierPool(pool.images, suite.outliers.reserved, suite.outliers.augment)
    data = training.TrainingData(train_set.images, train_set.labels, outliers)
    unfinished = file.with_suffix(".unfinished")
    started = time.monotonic()
    training.train(network, network_plan.objective, suite.training, data, request.seed, unfinished)
    provenance = {
        "objective": network_plan.objective.identity,
        "network": repr(suite.network),
        "recipe": repr(suite.training),
        "id_train": suite.id.train,
        "seed": str(request.seed),
        "seconds": f"{time.monotonic() - started:.1f}",
        **machine(request.device),
    }
    checkpoints.save(network, file, provenance)
    unfinished.unlink(missing_ok=True)


class _NetworkRun:
    """A trained network, the detectors over it, and where their scores go."""

    def __init__(self, request: Request, plan: SuitePlan, network_plan: NetworkPlan, network: Network) -> None:
        self.request, self.plan = request, plan
        self.network_file = network_plan.file
        self.network_digest = checkpoints.weights_digest(network)
        self.missing: dict[CellPlan, frozenset[tuple[str, str]]] = {}
        for cell in network_plan.cells:
            cell.detector.fit(network, plan.suite.id.classes, self._fit_images(cell.detector))
            missing = plan.wanted() if request.again else plan.missing(cell, self.network_digest)
            self.missing[cell] = frozenset(missing)

    def score_all(self) -> None:
        """Every missing group of every cell; clean sets in one pass for all detectors."""
        for task, image_set in self.plan.wanted():
            cells = [cell for cell, missing in self.missing.items() if (task, image_set) in missing]
            if not cells:
                continue
            if self.plan.is_clean(task):
                self._score_clean(cells, task, self.plan.images[image_set])
            else:
                for cell in cells:
                    self._score_altered(cell, task, self.plan.images[image_set])

    def _score_clean(self, cells: Sequence[CellPlan], task: str, images: ImageSet) -> None:
        started = time.monotonic()
        scored = score_clean([cell.detector for cell in cells], images, self.request.device)
        seconds = time.monotonic() - started
        for cell, one in zip(cells, scored, strict=True):
            if task == ID_TASK:
                refuse_constant(cell.detector, one.scores, images.name)
            self._keep(cell, task, images, one, seconds)

    def _score_altered(self, cell: CellPlan, task: str, images: ImageSet) -> None:
        started = time.monotonic()
        # The purpose has no detector in it: all detectors are attacked from the same random starts.
        purpose = f"{self.request.seed}/{task}/{images.name}"
        scored = score_altered(cell.detector, images, self.plan.suite.tasks[task], purpose, self.request.device)
        self._keep(cell, task, images, scored, time.monotonic() - started)

    def _keep(self, cell: CellPlan, task: str, images: ImageSet, scored: Scored, seconds: float) -> None:
        suite = self.plan.suite
        distances = {ood.set: ood.distance for ood in suite.ood}
        cell.cell.add(
            Scores(
                task=task,
                image_set=images.name,
                role="id" if task == ID_TASK else "ood",
                scores=scored.scores,
                predictions=scored.predictions,
                labels=images.labels,
                indices=np.arange(len(images)),
                extras=scored.extras,
                attributes={
                    "key": self.plan.group_key(cell, self.network_digest, task, images.name),
                    "threat": "" if task == ID_TASK else suite.tasks[task].threat(),
                    "distance": distances.get(images.name, ""),
                    "fingerprint": images.fingerprint,
                    "source": images.source,
                    "seconds": seconds,
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                    **machine(self.request.device),
                },
            ),
            self._cell_attributes(cell),
        )

    def _cell_attributes(self, cell: CellPlan) -> Mapping[str, str | int]:
        suite, request = self.plan.suite, self.request
        return {
            "suite": suite.name,
            "suite_version": suite.version,
            "suite_fingerprint": suite.fingerprint,
            "classes": suite.id.classes,
            "detector": cell.detector.name,
            "paper": cell.detector.paper,
            "parameters": json.dumps(asdict(cell.detector.parameters)),
            "settings": " ".join(setting.text for setting in request.settings),
            "seed": request.seed,
            "limit": request.limit or 0,
            "network": suite.network.name,
            "network_file": self.network_file.name,
            "network_digest": self.network_digest,
            "checkpoint": str(request.checkpoint or ""),
        }

    def _fit_images(self, detector: Detector) -> IDImages | None:
        train = self.plan.suite.id.train
        if train is None or train not in self.plan.images or type(detector).fit is Detector.fit:
            return None
        return _resident(self.plan.images[train], self.request.device)


def _resident(images: ImageSet, device: torch.device) -> IDImages:
    """The whole set on the device, channels first."""
    pixels = torch.from_numpy(images.images).to(device).permute(0, 3, 1, 2).contiguous()
    return IDImages(pixels, torch.from_numpy(images.labels).to(device))
