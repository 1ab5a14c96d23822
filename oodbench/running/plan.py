"""The plan of a run: suites and seeds, their networks, and the cells that score with each network.

What a plan costs is counted in `oodbench.running.plan_cost`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.files import digest
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.results.attacked_images import KEPT_IMAGES
from oodbench.results.store import Cell, Role
from oodbench.running.imagesets import ImageSets, Sample
from oodbench.running.request import Demands, Machinery, Request
from oodbench.statistics.honesty import CHECK
from oodbench.suite import Suite
from oodbench.suitefiles.settings import Setting
from oodbench.tasks import ID_TASK, Clean, Smoothed, Task, constants
from oodbench.training.pretrained import Pretrained

UNFINISHED = ".unfinished"
"""Suffix of the file that holds the state of an interrupted training; it lies beside the file of its network."""

CHECKED = f"{CHECK}square"
"""Name under which a result notes that `--checks full` tried other attacks against its own."""

TRANSFERRED = f"{CHECK}transfer"
"""Name under which a result notes that images which other detectors were attacked with were tried on its detector.

That takes the attacked images of the result itself."""

Pair = tuple[str, str]
"""Names of a task and of an image set: one group of scores."""


@dataclass(frozen=True, eq=False)
class CellPlan:
    """One detector on one suite with one seed.

    Attributes:
        detector: unfitted.
        cell: the file of its results.
        key: hash of everything that is known before training and moves a score.
        code: digest of the code behind the detector, which is in the key too.
        missing: (task, image set) pairs that the file lacks, judged by the network that the file was made with.
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
        objective: how the network is trained.
        file: where the trained network is kept, or the checkpoint.
        given: the network is not trained: it is a checkpoint, a module in memory, or one that is kept for everybody.
        cells: of the detectors whose objective is equal to `objective`.
        operations: floating-point operations of a forward pass over one image.
        threads: CPU threads that training and scoring use.
        pretrained: the network's entry on its shelf if it is one that is kept for everybody; None otherwise.
        why_not_pretrained: why the network is trained although a kept one was asked for; "" where none was asked for,
            or the network is a kept one.
        start: file of the weights that training starts from; None where they are drawn, or nothing is trained.
        epochs_done: epochs that an interrupted training has behind it, counted over all phases.
        module: the network itself, where somebody gave a module in memory; `file` is then only its name.
        parts: which parts of a user's module give features and feature maps, for people; "" for networks that know it.
    """

    objective: Objective
    file: Path
    given: bool
    cells: tuple[CellPlan, ...]
    operations: int
    threads: int
    pretrained: Pretrained | None = None
    why_not_pretrained: str = ""
    start: Path | None = None
    epochs_done: int = 0
    module: Network | None = None
    parts: str = ""

    @property
    def names(self) -> str:
        """Names of its detectors, for people."""
        return ", ".join(cell.detector.name for cell in self.cells)

    @property
    def needed(self) -> bool:
        """True if some cell has scores that are missing."""
        return any(cell.missing for cell in self.cells)

    @property
    def to_train(self) -> bool:
        """True if the network is needed and must be trained first."""
        return self.needed and not self.given and not self.file.is_file()


@dataclass(frozen=True)
class SuitePlan:
    """One suite with one seed: its images in memory, its networks, and what of the request moves or describes results.

    Attributes:
        suite: with the run's settings applied.
        settings: the settings as they were asked for, where they say something about this suite.
        retasked: constants of tasks that the settings change; results under changed constants stand beside the suite's
            own results, never among them.
        sample: which images of each set are used.
        image_sets: these images.
        seed: of training and attacks.
        demands: what is wanted beside the scores that are missing.
        networks: in the order in which they are trained.
        left_out: which detectors can do nothing with the suite, and why; a line a reason.
        unnamed: names of detectors that came with "all"; one that turns out unable to score is left out, too.
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
    unnamed: frozenset[str] = frozenset()

    @property
    def images(self) -> Mapping[str, ImageSet]:
        """Image sets by name."""
        return self.image_sets.images

    @property
    def cells(self) -> tuple[CellPlan, ...]:
        """The cells of all networks, in their order."""
        return tuple(cell for network in self.networks for cell in network.cells)

    @property
    def stored_tasks(self) -> Mapping[str, Task]:
        """The tasks by the names under which scores are stored: a smoothed task is stored under several names."""
        tasks: dict[str, Task] = {}
        for name, task in self.suite.tasks.items():
            tasks |= dict(task.parts(name)) if isinstance(task, Smoothed) else {name: task}
        return tasks

    def task(self, pair: Pair) -> Task:
        """The task that is done to the image set of `pair`; `Clean` on the side that the task's threat leaves alone."""
        name, image_set = pair
        if name == ID_TASK:
            return Clean()
        task = self.stored_tasks[name]
        left_alone = task.side == ("out" if image_set == self.suite.id.test else "in") and not task.smooths
        return Clean() if left_alone else task

    def role(self, image_set: str) -> Role:
        """The role of an image set in this suite: "id" or "ood"."""
        return "id" if image_set == self.suite.id.test else "ood"

    def checked_in_full(self, pair: Pair) -> bool:
        """True if other attacks are tried against this one; not on ID images, which have no scores to pass."""
        return self.demands.thorough and self.task(pair).attacks() and pair[1] != self.suite.id.test

    def wanted_pairs(self, cell: CellPlan) -> list[Pair]:
        """Every (task, image set) of a cell, in the order in which they are done."""
        wanted = [(ID_TASK, self.suite.id.test)]
        for name, task in self.suite.tasks.items():
            if task.certifies and not cell.detector.has_bound():
                continue
            # ID images first: OOD scores are judged against theirs.
            wanted += [(name, self.suite.id.test)] if task.side != "out" or task.smooths else []
            wanted += [(name, ood.set) for ood in self.suite.tested]
        return wanted

    def stored_pairs(self, cell: CellPlan) -> list[Pair]:
        """The (task, image set) names under which a cell's scores are stored."""
        return [(name, pair[1]) for pair in self.wanted_pairs(cell) for name in self._stored_names(pair)]

    def missing_pairs(self, cell: CellPlan, network_digest: str) -> list[Pair]:
        """The pairs of a cell that are to be scored with the network of this digest.

        These are the pairs that the file lacks or has from another network; all pairs if everything is asked for again.
        A pair of an attack is also missing where the file does not have all that the run wants of it.
        """
        wanted = self.wanted_pairs(cell)
        if self.demands.again:
            return wanted
        return [pair for pair in wanted if not self._is_stored(cell, network_digest, pair)]

    def missing_by_file(self, cell: CellPlan) -> list[Pair]:
        """The pairs of a cell that are to be scored, judged by the network that the cell's file was made with."""
        reads_file = cell.cell.path.is_file() and not self.demands.again
        network_digest = str(cell.cell.attributes().get("network_digest", "")) if reads_file else ""
        return self.missing_pairs(cell, network_digest)

    def group_key(self, cell: CellPlan, network_digest: str, task: str, image_set: str) -> str:
        """The key of one group of scores: it changes whenever anything changes that moves the scores."""
        _, height, width = self.image_sets.shape(self.suite)
        corrupted = len(self.task((task, image_set)).versions()) > 1
        return digest(
            cell.key,
            network_digest,
            task,
            json.dumps(constants(self.task((task, image_set))), sort_keys=True),
            self.images[self.suite.id.test].fingerprint,
            self.images[image_set].fingerprint,
            # Corruptions once took images that are not square for square ones: such scores are done again.
            *(["height and width apart"] if corrupted and height != width else []),
        )

    def _is_stored(self, cell: CellPlan, network_digest: str, pair: Pair) -> bool:
        """True if the cell's file has everything that the run wants of a pair."""
        image_set = pair[1]
        for name in self._stored_names(pair):
            if cell.cell.key(name, image_set) != self.group_key(cell, network_digest, name, image_set):
                return False
        if not self.task(pair).attacks():
            return True
        entries = cell.cell.stored_names(*pair)
        if self.demands.keep_images and KEPT_IMAGES not in entries:
            return False
        return not self.checked_in_full(pair) or (CHECKED in entries and bool(entries & {KEPT_IMAGES, TRANSFERRED}))

    def _stored_names(self, pair: Pair) -> list[str]:
        """The task names under which the scores of a pair are stored."""
        task = self.task(pair)
        if not isinstance(task, Smoothed):
            return [pair[0]]
        return [name for name, _ in task.parts(pair[0], self.role(pair[1]))]


@dataclass(frozen=True)
class SeedPlan:
    """The plan of a run for one seed.

    Attributes:
        request: with that seed.
        suites: the plans of the request's suites, in their order.
    """

    request: Request
    suites: tuple[SuitePlan, ...]


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run for one or several seeds.

    Attributes:
        seeds: at least one, in the order in which they are done.
    """

    seeds: tuple[SeedPlan, ...]

    @property
    def request(self) -> Request:
        """The request with the first seed; those of the other seeds differ from it in their seed alone."""
        return self.seeds[0].request

    @property
    def machinery(self) -> Machinery:
        """The machinery, which is the same for all seeds."""
        return self.request.machinery

    @property
    def suites(self) -> tuple[SuitePlan, ...]:
        """The suite plans of all seeds, one seed after the other."""
        return tuple(suite_plan for seed_plan in self.seeds for suite_plan in seed_plan.suites)

    @property
    def cells(self) -> tuple[CellPlan, ...]:
        """The cells of all seeds, suites and networks, in their order."""
        return tuple(cell for suite_plan in self.suites for cell in suite_plan.cells)

    def label_failure(self, seed: int, failure: str) -> str:
        """A failure's text, with its seed before it where the run has several."""
        return f"seed {seed}: {failure}" if len(self.seeds) > 1 else failure
