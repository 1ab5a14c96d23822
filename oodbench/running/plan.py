"""What a run is going to do, and how many passes that costs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import passes_a_look
from oodbench.attacks.checks import THOROUGH, THOROUGH_IMAGES
from oodbench.basics.files import digest
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.results.attacked_images import KEPT_IMAGES
from oodbench.results.store import Cell, Role
from oodbench.running.imagesets import ImageSets, Sample
from oodbench.running.request import Demands, Request
from oodbench.scoring.attacking import attack_passes
from oodbench.scoring.certified import bounding_passes
from oodbench.scoring.smoothed import smoothing_passes
from oodbench.statistics.honesty import CHECK
from oodbench.suite import Suite
from oodbench.suitefiles.settings import Setting
from oodbench.tasks import ID_TASK, Certified, Clean, Smoothed, Task, constants
from oodbench.tasks.versions import Versions
from oodbench.training.pretrained import Pretrained

UNFINISHED = ".unfinished"
"""What the file of a training's state ends with, beside that of its network."""

CHECKED = f"{CHECK}square"
"""What is noted of an attack that `--checks full` tried others against."""

TRANSFERRED = f"{CHECK}transfer"
"""What is noted of it once what other detectors were attacked with was tried, too, for which its images are at hand."""

Pair = tuple[str, str]
"""A task and an image set: one group of scores."""


@dataclass(frozen=True, eq=False)
class CellPlan:
    """One detector on one suite with one seed.

    Attributes:
        detector: unfitted.
        cell: its file.
        key: hash of everything known before training that moves a score.
        code: digest of the code behind the detector, which is in the key too.
        missing: (task, image set) pairs that the file lacks, going by the network it was made with.
    """

    detector: Detector
    cell: Cell
    key: str
    code: str
    missing: tuple[Pair, ...]


@dataclass(frozen=True)
class NetworkPlan:
    """One trained network and the cells that score with it.

    Attributes:
        objective: how it is trained.
        file: where it is kept once trained, or the checkpoint.
        given: it is a checkpoint, a module, or one that is kept for everybody, and is not trained.
        cells: detectors whose objective is equal to `objective`.
        operations: of a forward pass over one image, in floating point.
        threads: of a CPU on which it is trained and scored with.
        pretrained: the one that is kept for everybody, where it is that.
        why: it is trained although such a one was asked for; "" where none was, or it is one.
        start: weights that its training starts from; None where they are drawn, or nothing is trained.
        epochs_done: of a training that was interrupted, all phases together.
        module: the network itself, where somebody gave a module; `file` is what it is called then.
        parts: what of somebody's module features and feature maps are, for people; "" of networks that know it.
    """

    objective: Objective
    file: Path
    given: bool
    cells: tuple[CellPlan, ...]
    operations: int
    threads: int
    pretrained: Pretrained | None = None
    why: str = ""
    start: Path | None = None
    epochs_done: int = 0
    module: Network | None = None
    parts: str = ""

    @property
    def names(self) -> str:
        """Its detectors, for people."""
        return ", ".join(cell.detector.name for cell in self.cells)

    @property
    def needed(self) -> bool:
        """Something is left to score with it."""
        return any(cell.missing for cell in self.cells)

    @property
    def to_train(self) -> bool:
        """It must be trained first."""
        return self.needed and not self.given and not self.file.is_file()


@dataclass(frozen=True)
class SuitePlan:
    """One suite with one seed: its images in memory, its networks, and what of the request moves or describes results.

    Attributes:
        suite: with the run's settings applied.
        settings: those, as they were asked for, where they say something.
        retasked: constants of tasks that they change; results under them stand beside the suite's own, never among
            them.
        sample: which images of each set.
        image_sets: these images.
        seed: of training and attacks.
        demands: what is wanted beside the scores that are missing.
        networks: in the order in which they are trained.
        left_out: which detectors can do nothing with the suite, and why; a line a reason.
    """

    suite: Suite
    settings: tuple[Setting, ...]
    retasked: tuple[str, ...]
    sample: Sample
    image_sets: ImageSets
    seed: int
    demands: Demands
    networks: tuple[NetworkPlan, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def images(self) -> Mapping[str, ImageSet]:
        """Image sets by name."""
        return self.image_sets.images

    def wanted(self, cell: CellPlan) -> list[Pair]:
        """Every (task, image set) of a cell, in the order in which they are done."""
        wanted = [(ID_TASK, self.suite.id.test)]
        for name, task in self.suite.tasks.items():
            if task.certifies and not cell.detector.has_bound():
                continue
            # ID images first: what they score is what others are held against.
            wanted += [(name, self.suite.id.test)] if task.side != "out" or task.smooths else []
            wanted += [(name, ood.set) for ood in self.suite.tested]
        return wanted

    def groups(self, cell: CellPlan) -> list[Pair]:
        """The names under which the scores of all that is wanted of a cell are stored: (task, image set)."""
        return [(name, pair[1]) for pair in self.wanted(cell) for name in self._groups(pair)]

    def lacking(self, cell: CellPlan) -> list[Pair]:
        """What is to be scored of a cell, going by the network that its file was made with: see `missing`."""
        looks = cell.cell.path.is_file() and not self.demands.again
        return self.missing(cell, str(cell.cell.attributes().get("network_digest", "")) if looks else "")

    def missing(self, cell: CellPlan, network_digest: str) -> list[Pair]:
        """What is to be scored of a cell: what its file lacks, has from another network, or everything once more.

        A group of an attack is lacking, too, where the file has not all of it that the run wants.
        """
        wanted = self.wanted(cell)
        if self.demands.again:
            return wanted
        return [pair for pair in wanted if not self._there(cell, network_digest, pair)]

    def _there(self, cell: CellPlan, network_digest: str, pair: Pair) -> bool:
        image_set = pair[1]
        for name in self._groups(pair):
            if cell.cell.key(name, image_set) != self.group_key(cell, network_digest, name, image_set):
                return False
        if not self.task(pair).attacks():
            return True
        there = cell.cell.stored_names(*pair)
        if self.demands.keep_images and KEPT_IMAGES not in there:
            return False
        return not self.checked_in_full(pair) or (CHECKED in there and bool(there & {KEPT_IMAGES, TRANSFERRED}))

    def checked_in_full(self, pair: Pair) -> bool:
        """Whether other attacks are tried against this one; not on ID images, which have no scores to pass."""
        return self.demands.thorough and self.task(pair).attacks() and pair[1] != self.suite.id.test

    def _groups(self, pair: Pair) -> list[str]:
        """Names of the tasks under which scores of a pair are stored."""
        task = self.task(pair)
        if not isinstance(task, Smoothed):
            return [pair[0]]
        return [name for name, _ in task.parts(pair[0], self.role(pair[1]))]

    def role(self, image_set: str) -> Role:
        """What an image set is in this suite."""
        return "id" if image_set == self.suite.id.test else "ood"

    def group_key(self, cell: CellPlan, network_digest: str, task: str, image_set: str) -> str:
        """The key of one group of scores: it changes whenever anything that moved the scores does."""
        return digest(
            cell.key,
            network_digest,
            task,
            json.dumps(constants(self.task((task, image_set))), sort_keys=True),
            self.images[self.suite.id.test].fingerprint,
            self.images[image_set].fingerprint,
        )

    def task(self, pair: Pair) -> Task:
        """What is done to the image set of `pair`: nothing to the side that its threat leaves alone."""
        name, image_set = pair
        if name == ID_TASK:
            return Clean()
        task = self.stored[name]
        left_alone = task.side == ("out" if image_set == self.suite.id.test else "in") and not task.smooths
        return Clean() if left_alone else task

    @property
    def stored(self) -> Mapping[str, Task]:
        """The tasks of the suite, and what some of them leave beside what bears their own name."""
        found: dict[str, Task] = {}
        for name, task in self.suite.tasks.items():
            found |= dict(task.parts(name)) if isinstance(task, Smoothed) else {name: task}
        return found

    def passes(self) -> Passes:
        """What is left to do here costs this many passes."""
        return self.training_all() + self.scoring()

    def scoring(self) -> Passes:
        """Of them, those of scores and attacks."""
        return sum((self._scoring(network.cells) for network in self.networks), Passes())

    def training_all(self) -> Passes:
        """Of them, those of trainings."""
        return sum((self.training(network) for network in self.networks), Passes())

    def passes_apart(self) -> Passes:
        """The same where each cell is done by itself: no pass is shared but those of training."""
        scoring = (self._scoring([cell]) for network in self.networks for cell in network.cells)
        return sum(scoring, self.training_all())

    def training(self, network: NetworkPlan) -> Passes:
        """Of its training, if it must be trained first."""
        return self.whole_training(network.objective, network.epochs_done) if network.to_train else Passes()

    def whole_training(self, objective: Objective, done: int = 0) -> Passes:
        """What a training costs of which so many epochs are `done`, all phases together."""
        total = Passes()
        if self.suite.training and self.suite.id.train:
            for phase in objective.phases():
                epochs = phase.recipe(self.suite.training).epochs
                behind = min(done, epochs)
                done -= behind
                total += phase.epoch_passes(len(self.images[self.suite.id.train])) * (epochs - behind)
        return total

    def tuning(self, detector: Detector) -> Passes:
        """Of what a detector tries on images that are no test images."""
        tuning = detector.tuning()
        return tuning.passes * self.image_sets.tuning_images(tuning, self.suite) if tuning else Passes()

    def _scoring(self, cells: Sequence[CellPlan]) -> Passes:
        """Of cells over one network, which share what does not depend on the detector."""
        total = Passes()
        if self.suite.id.train and any(cell.missing and cell.detector.observes() for cell in cells):
            total += Passes(forward=len(self.images[self.suite.id.train]))
        smoothings = {pair for cell in cells for pair in cell.missing if self.task(pair).smooths}
        total += Passes(forward=sum(self._copies(pair) for pair in smoothings))
        searches = {search for cell in cells for search in self._searches(cell)}
        total += Passes(forward=sum(self._looks(search) for search in searches))
        for cell in cells:
            total += self.tuning(cell.detector) if cell.missing else Passes()
            for search in self._searches(cell):
                total += cell.detector.own_passes() * self._looks(search)
            for pair in cell.missing:
                task = self.task(pair)
                if isinstance(task, Smoothed):
                    total += smoothing_passes(task, cell.detector, self.role(pair[1]), len(self.images[pair[1]]))
                elif isinstance(task, Certified):
                    outputs = self.suite.id.classes + cell.detector.objective().reject_outputs
                    total += bounding_passes(task, cell.detector, outputs) * len(self.images[pair[1]])
                elif task.attacks():
                    attack = attack_passes(task, cell.detector)
                    total += attack * len(self.images[pair[1]])
                    a_look = passes_a_look(cell.detector, task.eot)
                    further = convergence.how_many(len(self.images[pair[1]]), task.passes())
                    total += convergence.COST * (further * a_look)
                    if self.checked_in_full(pair):
                        total += THOROUGH * (a_look * min(len(self.images[pair[1]]), THOROUGH_IMAGES))
        return total

    def _searches(self, cell: CellPlan) -> set[tuple[Versions, str]]:
        """Which versions of which image sets are looked at; once for all tasks that begin with the same."""
        tasks = [(self.task(pair), pair[1]) for pair in cell.missing]
        return {
            (task.versions(), image_set)
            for task, image_set in tasks
            if not (task.certifies or task.smooths) and (len(task.versions()) > 1 or not task.attacks())
        }

    def _copies(self, pair: Pair) -> int:
        """Noisy copies of an image set, of which each takes one pass for all detectors of a network."""
        task = self.task(pair)
        return task.draws * len(self.images[pair[1]]) if isinstance(task, Smoothed) else 0

    def _looks(self, search: tuple[Versions, str]) -> int:
        versions, image_set = search
        return len(versions) * len(self.images[image_set])


Planned = tuple[Request, Sequence[SuitePlan]]
"""A request and what is to be done for it."""
