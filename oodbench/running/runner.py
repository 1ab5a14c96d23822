"""Carrying out a plan: have networks trained, fit, score every task and set, store."""

import inspect
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from traceback import extract_tb
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.checks import transferred
from oodbench.basics import plugins
from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.threads import on_threads
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.images.resident import Pixels, resident
from oodbench.metrics import accuracy
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, batch_size
from oodbench.results.conditions import Setup, shown
from oodbench.results.folder import FAILED, FAILED_AT, FAILED_ON
from oodbench.results.store import Scores
from oodbench.running import label_check, network_provenance, normalisation_check
from oodbench.running.plan import CellPlan, NetworkPlan, Pair, SuitePlan
from oodbench.running.request import Request
from oodbench.running.train_or_load import Say, provide
from oodbench.scoring.attacking import Attack, aim, enough, score_attacked, thorough_checks
from oodbench.scoring.batches import exact
from oodbench.scoring.certified import score_certified
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import Evidence, Fitted, fit
from oodbench.scoring.scored import Scored, joined, refuse_constant
from oodbench.tasks import ID_TASK, Task, constants
from oodbench.tasks.versions import Versions

T = TypeVar("T")


def execute(request: Request, plans: Sequence[SuitePlan], say: Say) -> list[str]:
    """Do what is missing in `plans`. What is finished is on disk at once: an interrupted run loses one group.

    A team of processes trains, corrupts and attacks together; its first process alone reads and writes results.

    Returns:
        What was wrong with each detector that could not be trained, fitted or scored, a line each; the others are done.

    Raises:
        StorageError: results cannot be written.
    """
    failures: list[str] = []
    runs: list[_NetworkRun] = []
    for plan in plans:
        for network_plan in plan.networks:
            if request.team.first(partial(_needed, network_plan)):
                taken = f", pretrained network {network_plan.pretrained.name}" if network_plan.pretrained else ""
                say(f"{plan.suite.name}: {network_plan.names}{taken}")
                try:
                    with on_threads(network_plan.threads):
                        run = _NetworkRun(request, plan, network_plan, provide(request, plan, network_plan, say))
                        run.score_all()
                        for remark in run.remarks:
                            say(f"{plan.suite.name}: {remark}")
                except StorageError:
                    raise
                except OodbenchError as error:
                    failures.append(f"{plan.suite.name}: {network_plan.names}: {error}")
                    request.team.first(partial(note_failure, request, plan, network_plan, str(error)))
                else:
                    failures += [f"{plan.suite.name}: {failure}" for failure in run.failures]
                    runs += [run] if request.thorough else []
    for run in runs:
        with on_threads(run.threads):
            run.judge_by_others(runs)
    return failures


def _needed(network_plan: NetworkPlan) -> bool:
    return network_plan.needed


def train(request: Request, plans: Sequence[SuitePlan], say: Say) -> list[str]:
    """Train the networks that `plans` need and that are not there, and score nothing.

    Returns:
        What was wrong with each network that could not be trained, a line each.
    """
    failures: list[str] = []
    for plan in plans:
        for network_plan in plan.networks:
            if network_plan.to_train:
                try:
                    with on_threads(network_plan.threads):
                        provide(request, plan, network_plan, say)
                except StorageError:
                    raise
                except OodbenchError as error:
                    failures.append(f"{plan.suite.name}: {network_plan.names}: {error}")
                    request.team.first(partial(note_failure, request, plan, network_plan, str(error)))
    return failures


def note_failure(request: Request, plan: SuitePlan, network_plan: NetworkPlan, why: str) -> None:
    """Leave word with every cell of a network that has nothing to score with, or whose process did not live."""
    for cell in network_plan.cells:
        if cell.missing or request.again:
            cell.cell.note(_failure(why), _attributes(request, plan, network_plan, cell))


def _failure(why: str, doing: Pair | tuple[()] = ()) -> dict[str, str]:
    """What a cell says of its detector's failure, until what it failed at is done."""
    return {FAILED: why, FAILED_AT: "/".join(doing), FAILED_ON: datetime.now(UTC).isoformat(timespec="seconds")}


class _NetworkRun:
    """A trained network, the detectors over it, and where their scores go."""

    def __init__(self, request: Request, plan: SuitePlan, network_plan: NetworkPlan, network: Network) -> None:
        self.request, self.plan, self.network = request, plan, network
        self.network_plan, self.threads = network_plan, network_plan.threads
        self.compute = replace(request.compute, bf16=False) if network_plan.given else request.compute
        self.network_digest = checkpoints.weights_digest(network)
        self.failures: list[str] = []
        self.remarks: dict[str, None] = {}
        self.about_pixels: str | None = None  # not known before the first accuracy is
        self.doing: Pair | tuple[()] = ()
        self.fitted: dict[CellPlan, Fitted] = {}
        self.attacked: dict[tuple[CellPlan, Pair], npt.NDArray[np.uint8]] = {}
        self.missing: dict[CellPlan, frozenset[tuple[str, str]]] = {}
        for cell in network_plan.cells:
            if missing := request.team.first(partial(self._missing, cell)):
                self.missing[cell] = frozenset(missing)
        self.fitted = dict(self._survivors(list(self.missing), self._fit))

    def _missing(self, cell: CellPlan) -> list[Pair]:
        return self.plan.wanted(cell) if self.request.again else self.plan.missing(cell, self.network_digest)

    def _survivors(
        self, cells: Sequence[CellPlan], work: Callable[[Sequence[CellPlan]], Sequence[T]]
    ) -> list[tuple[CellPlan, T]]:
        """What `work` gives for all `cells` at once; if it fails, for each alone, giving up those that fail again."""
        try:
            return list(zip(cells, work(cells), strict=True))
        except StorageError:
            raise
        except Exception as error:
            if len(cells) > 1:
                return [pair for cell in cells for pair in self._survivors([cell], work)]
            if self.request.team.size > 1 and not isinstance(error, OodbenchError):
                raise  # the other processes may be waiting for this one, in the middle of something
            why = _blamed(cells[0].detector, error)
            self.failures.append(why)
            del self.missing[cells[0]]
            self._note_failure(cells[0], why)
            return []

    def _note_failure(self, cell: CellPlan, why: str) -> None:
        failure, about = _failure(why, self.doing), self._cell_attributes
        self.request.team.first(lambda: cell.cell.note(failure, about(cell)))

    def _fit(self, cells: Sequence[CellPlan]) -> list[Fitted]:
        detectors = [cell.detector for cell in cells]
        classes, evidence = self.plan.suite.id.classes, self._evidence(cells)
        return self.request.team.together(lambda: fit(detectors, self.network, classes, evidence))

    def _evidence(self, cells: Sequence[CellPlan]) -> Evidence:
        """What these cells' detectors may learn from, and no more of it on the device than they ask for."""
        plan, device = self.plan, self.request.device
        tunings = [tuning for cell in cells if (tuning := cell.detector.tuning())]
        sources = {tuning.source for tuning in tunings}
        train, heldout = plan.suite.id.train, plan.image_sets.heldout
        wants_train = any(cell.detector.observes() for cell in cells)
        return Evidence(
            train=resident(plan.images[train], device) if train and wants_train else None,
            heldout=resident(heldout, device) if heldout and "heldout" in sources else None,
            id_test=resident(plan.images[plan.suite.id.test], device) if "id-test" in sources else None,
            outliers=self._reserved() if any(tuning.outliers for tuning in tunings) else None,
        )

    def _reserved(self) -> Pixels | None:
        outliers = self.plan.suite.outliers
        if outliers is None:
            return None
        return resident(self.plan.images[outliers.set].first(outliers.reserved), self.request.device).images

    def score_all(self) -> None:
        """Every missing group of every cell; what does not depend on the detector in one pass for all."""
        for pair in dict.fromkeys(pair for cell in list(self.missing) for pair in self.plan.wanted(cell)):
            self.doing = pair
            task, images = self.plan.task(pair), self.plan.images[pair[1]]
            cells = [cell for cell, missing in self.missing.items() if pair in missing]
            if task.certifies:
                for cell in cells:
                    for _, one in self._survivors([cell], partial(self._certify, pair, images)):
                        self._keep(cell, pair, images, one)
                continue
            if not task.attacks():
                for cell, one in self._search(task.versions(), images, cells):
                    self._keep(cell, pair, images, one)
                continue
            starts = self._starts(task.versions(), images, cells)
            for cell in [cell for cell in cells if cell in self.missing]:
                for _, one in self._survivors([cell], partial(self._attack, pair, images, starts.get(cell))):
                    self._keep(cell, pair, images, one)

    def _purpose(self, images: ImageSet) -> str:
        # Neither detector nor task is in it: all are attacked from the same random starts, and a task that begins as
        # another does draws what that one draws.
        return f"{self.request.seed}/{images.name}"

    def _shared(self, images: ImageSet, together: int, work: Callable[[ImageSet, slice], list[Scored]]) -> list[Scored]:
        """What `work` says of all `images`, each process of the team looking at its part of them.

        Args:
            images: all of them.
            together: batches of the usual size that `work` looks at at once.
            work: this process's part of the images, and where that stands among all, to what several detectors say.
        """
        team, unit = self.request.team, together * batch_size(self.request.device, images.images.shape[1])
        mine = team.share(len(images), unit)
        found = team.all(lambda: work(images.part(mine), mine) if mine.start < mine.stop else [])
        return [joined(of_one) for of_one in zip(*filter(None, found), strict=True)]

    def _search(self, versions: Versions, images: ImageSet, cells: Sequence[CellPlan]) -> list[tuple[CellPlan, Scored]]:
        """The highest scores among `versions` for all `cells`, whose extras say which they are."""

        def score(some: Sequence[CellPlan]) -> list[Scored]:
            detectors = [cell.detector for cell in some]
            purpose, device = self._purpose(images), self.request.device
            scored = self._shared(images, 1, lambda mine, _: score_versions(detectors, mine, versions, purpose, device))
            if images.name == self.plan.suite.id.test:
                for detector, one in zip(detectors, scored, strict=True):
                    refuse_constant(detector, one.scores, images.name)
            return scored

        return self._survivors(cells, score) if cells else []

    def _starts(
        self, versions: Versions, images: ImageSet, cells: Sequence[CellPlan]
    ) -> dict[CellPlan, npt.NDArray[np.int64]]:
        """Which version of each image an attack starts from, where there is a choice: as stored, else searched for."""
        if len(versions) == 1:
            return {}
        stored = self.request.team.first(lambda: [self._stored_choice(versions, images, cell) for cell in cells])
        found = {cell: numbers for cell, numbers in zip(cells, stored, strict=True) if numbers is not None}
        searched = self._search(versions, images, [cell for cell in cells if cell not in found])
        return found | {cell: one.extras["version"].astype(np.int64) for cell, one in searched}

    def _stored_choice(self, versions: Versions, images: ImageSet, cell: CellPlan) -> npt.NDArray[np.int64] | None:
        """The choice that a task made among the same versions without an attack behind it."""
        for name, task in self.plan.suite.tasks.items():
            if not task.attacks() and task.versions() == versions:
                key = self.plan.group_key(cell, self.network_digest, name, images.name)
                if cell.cell.key(name, images.name) == key:
                    return cell.cell.group(name, images.name).extras["version"].astype(np.int64)
        return None

    def _attack(
        self, pair: Pair, images: ImageSet, chosen: npt.NDArray[np.int64] | None, cells: Sequence[CellPlan]
    ) -> list[Scored]:
        (cell,) = cells
        detector, task, device = cell.detector, self.plan.task(pair), self.request.device
        goal = Goal.against(detector) if pair[1] == self.plan.suite.id.test else self._goal(cell, task)
        keep = self.request.keep_images or self.request.thorough
        further = convergence.chosen(len(images))  # of the whole set, whoever has which part of it
        attack = Attack(detector, task, goal, self._purpose(images), chosen, keep, further)
        (scored,) = self._shared(
            images, task.together, lambda mine, which: [score_attacked(attack.of(which), mine, device)]
        )
        if self.request.thorough and pair[1] != self.plan.suite.id.test:
            more = self.request.team.first(
                lambda: thorough_checks(attack, images, scored, self._id_scores(cell), device)
            )
            scored = replace(scored, checks={**scored.checks, **more})
            self.attacked[cell, pair] = scored.images
        return [scored]

    def _certify(self, pair: Pair, images: ImageSet, cells: Sequence[CellPlan]) -> list[Scored]:
        radius, device = self.plan.task(pair).epsilon, self.request.device
        detectors = [cell.detector for cell in cells]
        return self._shared(
            images, 1, lambda mine, _: [score_certified(detector, mine, radius, device) for detector in detectors]
        )

    def judge_by_others(self, others: Sequence["_NetworkRun"]) -> None:
        """Try on each detector what others of the run were attacked with, and note how often that does more."""
        for (cell, pair), images in self.attacked.items():
            donors = [
                found
                for run in others
                if run.plan is self.plan
                for (donor, same), found in run.attacked.items()
                if same == pair and donor is not cell
            ]
            self.request.team.first(partial(self._judge, cell, pair, images, donors))

    def _judge(
        self, cell: CellPlan, pair: Pair, images: npt.NDArray[np.uint8], donors: list[npt.NDArray[np.uint8]]
    ) -> None:
        id_scores = self._id_scores(cell)
        far = enough(id_scores, self.plan.task(pair))
        with exact(self.network):
            found = transferred(cell.detector.score, images, donors, id_scores, far, self.request.device)
        group = cell.cell.group(*pair)
        checks = {f"check_{name}": value for name, value in found.items()}
        cell.cell.add(replace(group, attributes={**group.attributes, **checks}), self._cell_attributes(cell))

    def _goal(self, cell: CellPlan, task: Task) -> Goal:
        id_scores = self.request.team.first(lambda: self._id_scores(cell))
        return aim(cell.detector, task, self.plan.images[self.plan.suite.id.test], id_scores, self.request.device)

    def _id_scores(self, cell: CellPlan) -> npt.NDArray[np.float64]:
        return cell.cell.group(ID_TASK, self.plan.suite.id.test).scores

    def _keep(self, cell: CellPlan, pair: Pair, images: ImageSet, scored: Scored) -> None:
        self.request.team.first(lambda: self._store(cell, pair, images, scored))

    def _store(self, cell: CellPlan, pair: Pair, images: ImageSet, scored: Scored) -> None:
        suite, task = self.plan.suite, pair[0]
        distances = {ood.set: ood.distance for ood in suite.ood}
        cell.cell.add(
            Scores(
                task=task,
                image_set=images.name,
                role="id" if images.name == suite.id.test else "ood",
                scores=scored.scores,
                predictions=scored.predictions,
                labels=images.labels,
                indices=images.indices,
                extras={**scored.extras, **({"images": scored.images} if self._keeps(scored) else {})},
                attributes={
                    "key": self.plan.group_key(cell, self.network_digest, task, images.name),
                    "threat": "" if task == ID_TASK else suite.tasks[task].threat(),
                    "constants": "" if task == ID_TASK else json.dumps(constants(suite.tasks[task])),
                    "distance": distances.get(images.name, ""),
                    "fingerprint": images.fingerprint,
                    "labels_note": self._about_labels(cell, images, scored) if task == ID_TASK else "",
                    "id_fingerprint": self.plan.images[suite.id.test].fingerprint,
                    "network_digest": self.network_digest,
                    "source": images.source,
                    "seconds": scored.seconds,
                    "looks": scored.looks,
                    "stops_at": self.plan.task(pair).stops_at(),
                    "images_sha256": scored.images_sha256,
                    **{f"check_{name}": value for name, value in scored.checks.items()},
                    "date": datetime.now(UTC).isoformat(timespec="seconds"),
                    **shown(Setup(self.request.device, self.request.team.size, self.compute)),
                },
            ),
            self._cell_attributes(cell, done=pair),
        )

    def _about_labels(self, cell: CellPlan, images: ImageSet, scored: Scored) -> str:
        """What there is to say of what an ID accuracy rests on; kept for whoever started the run, too."""
        suite, given = self.plan.suite, self.network_plan.file if self.network_plan.given else None
        said = [label_check.unchecked(suite, self.plan.image_sets, given)]
        if given:
            said.append(label_check.doubt(images.labels, scored.predictions, suite.id.classes, images.classes))
            right, device, kept = accuracy(scored.predictions, images.labels), self.request.device, self.network_plan
            if kept.pretrained and not self.request.limit:
                said.append(label_check.fallen(kept.pretrained.name, kept.pretrained.accuracy, images.name, right))
            if self.about_pixels is None:
                self.about_pixels = normalisation_check.doubt(
                    self.network, suite.network, given, cell.detector, images, right, device
                )
            said.append(self.about_pixels)
        self.remarks |= dict.fromkeys(one for one in said if one)
        return "; ".join(one for one in said if one)

    def _keeps(self, scored: Scored) -> bool:
        return self.request.keep_images and bool(scored.images.size)

    def _cell_attributes(self, cell: CellPlan, done: Pair | None = None) -> Mapping[str, str | int | float]:
        """What is said of a cell; that it failed once, too, until what it failed at is `done`."""
        about = _attributes(self.request, self.plan, self.network_plan, cell, self.network_digest)
        if cell in self.fitted:
            about |= {"tuned": json.dumps(self._tuned(cell)), "fit_seconds": self.fitted[cell].seconds}
        present = cell.cell.attributes() if cell.cell.path.is_file() else {}
        failed_at = str(present.get(FAILED_AT, ""))
        if failed_at and failed_at != "/".join(done or ()):
            about |= {name: str(present[name]) for name in (FAILED, FAILED_AT, FAILED_ON)}
        return about

    def _tuned(self, cell: CellPlan) -> dict[str, Any]:
        """What came of tuning, and which of the images for it the network may have been trained on."""
        tuned, tuning = self.fitted[cell].tuned, cell.detector.tuning()
        if not tuned or tuning is None:
            return tuned
        return {
            **tuned,
            "perhaps_seen": network_provenance.perhaps_seen(
                self.network_plan.file, self.plan.suite, self.plan.image_sets, tuning
            ),
        }


def _attributes(
    request: Request, plan: SuitePlan, network_plan: NetworkPlan, cell: CellPlan, network_digest: str = ""
) -> dict[str, str | int | float]:
    """What is said of a cell before its detector has learned anything."""
    suite = plan.suite
    return {
        "suite": suite.name,
        "suite_version": suite.version,
        "suite_fingerprint": suite.fingerprint,
        "means": json.dumps(suite.means),
        "classes": suite.id.classes,
        "detector": cell.detector.name,
        "paper": cell.detector.paper,
        "parameters": json.dumps(asdict(cell.detector.parameters)),
        "code": cell.code,
        "settings": " ".join(setting.text for setting in request.settings),
        "plugin": plugins.file_of(type(cell.detector)),
        "options": shlex.join(request.compute.options(request.device, trains=not network_plan.given)),
        "seed": request.seed,
        "limit": request.limit or 0,
        "images": request.images or 0,
        "data": str(request.data),
        "network": suite.network.name,
        "network_file": network_plan.file.name,
        "network_digest": network_digest,
        "trained_on": network_provenance.trained_on(network_plan.file),
        "checkpoint": str(network_plan.file) if network_plan.given else "",
        "pretrained": network_plan.pretrained.title if network_plan.pretrained else "",
        "unlike": "; ".join(plan.image_sets.unlike),
    }


def _blamed(detector: Detector, error: Exception) -> str:
    """What went wrong with a detector; where, if its own code did not expect it."""
    if isinstance(error, OodbenchError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    file = inspect.getfile(type(detector))
    where = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"detector {detector.name!r} failed in {where.filename}, line {where.lineno}: {said}"
