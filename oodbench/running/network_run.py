"""The detectors over one trained network: fitted, then scored under every task, and attacked."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.thorough_checks import transfer_checks
from oodbench.basics.errors import NoGradientError, OodbenchError, StorageError
from oodbench.basics.progress import spend
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet, images_digest
from oodbench.metrics import accuracy
from oodbench.networks import checkpoints
from oodbench.networks.network import MissingPartError, Network, as_input, batch_size
from oodbench.results.store import Role
from oodbench.running import label_check, normalisation_check, plan_cost, transfers
from oodbench.running.fitting_images import fitting_images
from oodbench.running.plan import CellPlan, NetworkPlan, Pair, SuitePlan
from oodbench.running.records import Records
from oodbench.running.request import Machinery
from oodbench.running.transfers import Untried
from oodbench.scoring.attacking import (
    Attack,
    aim,
    images_to_look_at,
    score_attacked,
    stopping_score,
    thorough_checks,
)
from oodbench.scoring.batches import Purpose, batches, exact
from oodbench.scoring.certified import score_certified
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import Fitted, fit
from oodbench.scoring.other_outputs import TRIAL_IMAGES, require_class_outputs
from oodbench.scoring.scored import Scored, join_parts, refuse_constant
from oodbench.scoring.smoothed import attack_at_radii, attacked_set, parts, score_smoothed, smoothed_attack
from oodbench.statistics import label_order
from oodbench.tasks import ID_TASK, Certified, Smoothed, Task
from oodbench.tasks.versions import Versions

T = TypeVar("T")


class NetworkRun:
    """A trained network, the detectors over it, and where their scores go.

    Attributes:
        remarks: on ID accuracies, for whoever started the run, in the order in which they were found.
        records: the stored scores of the cells.
    """

    def __init__(self, plan: SuitePlan, network_plan: NetworkPlan, network: Network, machinery: Machinery) -> None:
        self._plan, self._network_plan, self._network = plan, network_plan, network
        self._device, self._team = machinery.device, machinery.team
        pack = plan.image_sets.pack
        weights = pack.network_digest if pack else checkpoints.weights_digest(network)
        self.records = Records(plan, network_plan, machinery.setup, weights)
        self._failures: list[str] = []
        self._left_out: list[str] = []
        self.remarks: dict[str, None] = {}
        self._normalisation_doubt: str | None = None  # None before the first accuracy is known
        self._doing: Pair | tuple[()] = ()
        self._missing: dict[CellPlan, frozenset[Pair]] = {}
        for cell in network_plan.cells:
            if missing := self._team.first(partial(self.records.missing, cell)):
                self._missing[cell] = frozenset(missing)

    def take_failures(self) -> list[str]:
        """Return what was wrong with detectors, a line each, and forget it."""
        failures, self._failures = self._failures, []
        return failures

    def _survivors(
        self, cells: Sequence[CellPlan], work: Callable[[Sequence[CellPlan]], Sequence[T]]
    ) -> list[tuple[CellPlan, T]]:
        """Do `work` for all `cells` at once; if it fails, for each cell alone, giving up those that fail again.

        Returns:
            The cells that did not fail, each with what `work` gives for it.
        """
        try:
            return list(zip(cells, work(cells), strict=True))
        except StorageError:
            raise
        except Exception as error:
            if len(cells) > 1:
                return [pair for cell in cells for pair in self._survivors([cell], work)]
            if self._team.size > 1 and not isinstance(error, OodbenchError):
                raise  # the other processes may be waiting for this one, in the middle of something
            why = _failure_text(cells[0].detector, error)
            if isinstance(error, OodbenchError) and self._may_be_left_out(cells[0]):
                self._missing.pop(cells[0], None)
                self._left_out.append(f"{cells[0].detector.name} is left out: {why}")
                return []
            self._failures.append(why)
            if self._missing.pop(cells[0], None):  # a cell that has all its scores has not failed
                self._team.first(partial(self.records.note_failure, cells[0], why, self._doing))
            return []

    def _may_be_left_out(self, cell: CellPlan) -> bool:
        """Whether nobody named the detector of a cell, and nothing is scored of it yet."""
        wanted = self._plan.wanted_pairs(cell)
        begun = self._missing.get(cell) != frozenset(wanted) or self._doing not in ((), wanted[0])
        return cell.detector.name in self._plan.unnamed and not begun

    def _fitted_cells(self, cells: Sequence[CellPlan]) -> list[CellPlan]:
        """Fit the detectors of `cells` that are not fitted yet; return the cells whose detectors are."""
        new = [cell for cell in cells if cell not in self.records.learned]
        self.records.learned |= dict(self._survivors(new, self._fit)) if new else {}
        return [cell for cell in cells if cell in self.records.learned]

    def _fit(self, cells: Sequence[CellPlan]) -> list[Fitted]:
        detectors = [cell.detector for cell in cells]
        classes, learned_from = self._plan.suite.id.classes, fitting_images(self._plan, detectors, self._device)
        fitted = self._team.together(lambda: fit(detectors, self._network, classes, learned_from))
        first, _ = next(batches(self._plan.images[self._plan.suite.id.test].part(slice(TRIAL_IMAGES)), self._device))
        require_class_outputs(detectors, self._network, classes, as_input(first))
        spend(sum(plan_cost.tuning_passes(self._plan, detector).both for detector in detectors))
        return fitted

    def score_all(self) -> None:
        """Score every missing pair of every cell; what does not depend on the detector is done once for all."""
        for cell in self._fitted_cells(list(self._missing)):
            self._give_up_if_tuned_apart(cell)
        for pair in dict.fromkeys(pair for cell in list(self._missing) for pair in self._plan.wanted_pairs(cell)):
            self._doing = pair
            task, images = self._plan.task(pair), self._plan.images[pair[1]]
            cells = [cell for cell, missing in self._missing.items() if pair in missing]
            if isinstance(task, Smoothed):
                self._smooth_all(pair, task, images, cells)
            elif isinstance(task, Certified):
                self._certify_each(pair, task, images, cells)
            elif not task.attacks():
                for cell, scored in self._search(task.versions(), images, cells):
                    self._keep(cell, pair, images, scored)
            else:
                self._attack_each(pair, task, images, cells)
        if len(self._left_out) < len(self._network_plan.cells):
            self.remarks |= dict.fromkeys(self._left_out)
        else:  # no detector can do with the network
            self._failures += self._left_out

    def _give_up_if_tuned_apart(self, cell: CellPlan) -> None:
        """Leave a cell alone whose stored ID scores are of a detector that was tuned to other values than here."""
        if (ID_TASK, self._plan.suite.id.test) in self._missing[cell]:
            return
        if names := self._team.first(partial(self.records.tuned_apart, cell)):
            del self._missing[cell]
            self._failures.append(
                f"{cell.detector.name} was tuned here to another {' and '.join(names)} than where {cell.cell.path} was "
                "begun, so its scores from here cannot stand beside those: go on with the machine and versions that it "
                "was begun with, or give another folder with --out; what is stored stays as it is"
            )

    def _certify_each(self, pair: Pair, task: Certified, images: ImageSet, cells: Sequence[CellPlan]) -> None:
        for cell in cells:
            for _, scored in self._survivors([cell], partial(self._certify, task, images)):
                self._keep(cell, pair, images, scored)

    def _attack_each(self, pair: Pair, task: Task, images: ImageSet, cells: Sequence[CellPlan]) -> None:
        starts = self._starts(task.versions(), images, cells)
        for cell in [cell for cell in cells if cell in self._missing]:
            for _, scored in self._survivors([cell], partial(self._attack, pair, images, starts.get(cell))):
                self._keep(cell, pair, images, scored)

    def _purpose(self, images: ImageSet) -> Purpose:
        """What seeds what is drawn at random for a set of images.

        The purpose names only seed and image set, so every detector and every task starts from the same random points.
        Two tasks with the same first stage therefore share its random numbers.
        """
        return Purpose(self._plan.seed, images.name)

    def _shared(self, images: ImageSet, together: int, work: Callable[[ImageSet, slice], list[Scored]]) -> list[Scored]:
        """The scores of all `images`, of which each process of the team scores its part.

        Args:
            images: all of them.
            together: batches of the usual size that `work` looks at at once.
            work: takes this process's part of the images and the place of that part among all; returns its scores by
                one or several detectors.

        Returns:
            The scores of all images, for each detector.
        """
        team, unit = self._team, together * batch_size(self._device, images.images.shape[1])
        share = team.share(len(images), unit)
        parts_of_all = team.all(lambda: work(images.part(share), share) if share.start < share.stop else [])
        return [join_parts(of_detector) for of_detector in zip(*filter(None, parts_of_all), strict=True)]

    def _search(self, versions: Versions, images: ImageSet, cells: Sequence[CellPlan]) -> list[tuple[CellPlan, Scored]]:
        """The highest score of each image among its `versions`, by cell; the extras say which version has it."""

        def score(cells: Sequence[CellPlan]) -> list[Scored]:
            detectors = [cell.detector for cell in cells]
            purpose, device = self._purpose(images), self._device
            scored = self._shared(images, 1, lambda part, _: score_versions(detectors, part, versions, purpose, device))
            if images.name == self._plan.suite.id.test:
                for detector, of_detector in zip(detectors, scored, strict=True):
                    refuse_constant(detector, of_detector.scores, images.name)
            return scored

        return self._survivors(cells, score) if cells else []

    def _starts(
        self, versions: Versions, images: ImageSet, cells: Sequence[CellPlan]
    ) -> dict[CellPlan, npt.NDArray[np.int64]]:
        """The version of each image (N,) that an attack starts from, by cell; empty where there is one version only."""
        if len(versions) == 1:
            return {}
        # Versions that a task without an attack chose are stored; others are searched.
        stored = self._team.first(lambda: [self.records.chosen_version(versions, images, cell) for cell in cells])
        starts = {cell: numbers for cell, numbers in zip(cells, stored, strict=True) if numbers is not None}
        searched = self._search(versions, images, [cell for cell in cells if cell not in starts])
        return starts | {cell: scored.extras["version"].astype(np.int64) for cell, scored in searched}

    def _attack(
        self, pair: Pair, images: ImageSet, chosen: npt.NDArray[np.int64] | None, cells: Sequence[CellPlan]
    ) -> list[Scored]:
        """Attack the images of a pair by the one detector of `cells`, from the `chosen` versions (N,) if not None."""
        (cell,) = cells
        detector, task, device = cell.detector, self._plan.task(pair), self._device
        goal = Goal.against(detector, task.eot) if pair[1] == self._plan.suite.id.test else self._goal(cell, task)
        in_full = self._plan.checked_in_full(pair)
        keep = self._plan.demands.keep_images or in_full  # other detectors are tried on the attacked images later
        # Of the whole set, not of a process's part.
        marked = images_to_look_at(images, task, device)
        attack = Attack(detector, task, goal, self._purpose(images), chosen, keep, *marked)
        (scored,) = self._shared(
            images, task.together, lambda part, place: [score_attacked(attack.part(place), part, device)]
        )
        if in_full:
            more = self._team.first(
                lambda: thorough_checks(attack, images, scored, self.records.id_scores(cell), device)
            )
            scored = replace(scored, checks={**scored.checks, **more})
        return [scored]

    def _certify(self, task: Certified, images: ImageSet, cells: Sequence[CellPlan]) -> list[Scored]:
        device = self._device
        detectors = [cell.detector for cell in cells]
        return self._shared(
            images, 1, lambda part, _: [score_certified(detector, part, task, device) for detector in detectors]
        )

    def _smooth_all(self, pair: Pair, task: Smoothed, images: ImageSet, cells: Sequence[CellPlan]) -> None:
        """Score an image set under a task that smooths scores, by all detectors at once, and attack each by itself."""
        role = self._plan.role(pair[1])

        def smooth(cells: Sequence[CellPlan]) -> list[Scored]:
            smoothed = self._smooth(task, images, cells)
            for cell, scored in zip(cells, smoothed, strict=True):
                if role == "id":
                    refuse_constant(cell.detector, scored.scores, images.name)
            return smoothed

        for cell, smoothed in self._survivors(cells, smooth) if cells else []:
            work = partial(self._attack_smoothed, pair[0], task, role, images, smoothed)
            for _, attacks in self._survivors([cell], work):
                for part in parts(pair[0], task, role, smoothed, attacks):
                    stored_pair = part.name, pair[1]
                    self._team.first(
                        partial(self.records.keep, cell, stored_pair, images, part.scored, scored_by=pair[0])
                    )

    def _smooth(self, task: Smoothed, images: ImageSet, cells: Sequence[CellPlan]) -> list[Scored]:
        detectors, purpose, device = [cell.detector for cell in cells], self._purpose(images), self._device
        count = len(images)  # of the whole set, not of a process's part
        return self._shared(images, 1, lambda part, _: score_smoothed(detectors, part, task, purpose, device, count))

    def _attack_smoothed(
        self, name: str, task: Smoothed, role: Role, images: ImageSet, smoothed: Scored, cells: Sequence[CellPlan]
    ) -> list[dict[int, Scored]]:
        """The results of attacks on one cell's smoothed scores, by radius; empty if the task `name` has no attack."""
        (cell,), id_images = cells, self._plan.images[self._plan.suite.id.test]

        def id_scores() -> npt.NDArray[np.float64]:
            return smoothed.scores if role == "id" else cell.cell.group(name, id_images.name).scores

        def attacked(radius: int) -> tuple[Scored, Scored]:
            beside = id_images, self._team.first(id_scores)
            attack = smoothed_attack(cell.detector, task, radius, role, beside, self._purpose(images), self._device)
            to_continue, to_check = images_to_look_at(images, attack.task, self._device)
            attack = replace(attack, to_continue=to_continue, to_check=to_check)
            (scored,) = self._shared(
                images,
                attack.task.together,
                lambda part, rows: [score_attacked(attack.part(rows), part, self._device)],
            )
            (smoothed_after,) = self._smooth(task, attacked_set(images, scored), cells)
            return scored, smoothed_after

        return [attack_at_radii(task, role, smoothed, attacked)]

    def transfer(self, untried: Untried) -> list[str]:
        """Try detectors on the images that other detectors were attacked with, and note how often these do more.

        Returns:
            Which results have no images that could be tried, and why; a line each.
        """
        cells = [cell for cell in self._network_plan.cells if cell.cell.path in untried]
        left_out: dict[str, None] = {}
        for cell in self._fitted_cells(cells):
            for pair, donors in untried[cell.cell.path].items():
                if self._team.first(partial(self.records.is_current, cell, pair)):
                    failure, remarks = self._team.first(partial(self._try_on, cell, pair, donors))
                    self._failures += filter(None, [failure])
                    left_out |= dict.fromkeys(remarks)
        return list(left_out)

    def _try_on(self, cell: CellPlan, pair: Pair, donors: Mapping[str, Path]) -> tuple[str, list[str]]:
        """Try the detector of a cell on the images of `donors` and note the outcome; earlier scores stay as they are.

        Returns:
            Why the detector cannot score the images, "" if it can; and which donors are left out, and why.
        """
        digests: dict[str, str] = {}
        left_out: list[str] = []

        def intact_images(own: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
            for name, path in donors.items():
                try:
                    images = transfers.images(path, pair)
                    if images.shape != own.shape:
                        raise OodbenchError(
                            f"{path}: its images of {pair[1]} are others than those of {cell.cell.path}"
                        )
                except OodbenchError as error:
                    left_out.append(f"not tried on other detectors: {error}")
                    continue
                digests[name] = images_digest(images)
                yield images

        try:
            own, id_scores = transfers.images(cell.cell.path, pair), self.records.id_scores(cell)
            far = stopping_score(id_scores, self._plan.task(pair))
            with exact(self._network):
                checks = transfer_checks(cell.detector.score, own, intact_images(own), id_scores, far, self._device)
        except Exception as error:
            return _failure_text(cell.detector, error), left_out
        self.records.add_transfer(cell, pair, checks, digests)
        return "", left_out

    def _goal(self, cell: CellPlan, task: Task) -> Goal:
        id_scores = self._team.first(lambda: self.records.id_scores(cell))
        return aim(cell.detector, task, self._plan.images[self._plan.suite.id.test], id_scores, self._device)

    def _keep(self, cell: CellPlan, pair: Pair, images: ImageSet, scored: Scored) -> None:
        self._team.first(partial(self._land, cell, pair, images, scored))

    def _land(self, cell: CellPlan, pair: Pair, images: ImageSet, scored: Scored) -> None:
        note = self._accuracy_note(cell, images, scored) if pair[0] == ID_TASK else ""
        self.records.keep(cell, pair, images, scored, note)

    def _accuracy_note(self, cell: CellPlan, images: ImageSet, scored: Scored) -> str:
        """The doubts about an ID accuracy, "" if there are none; they become remarks, too."""
        if (scored.predictions < 0).all():
            return ""  # the network predicts no classes, so there is no accuracy
        suite, network_plan = self._plan.suite, self._network_plan
        given = network_plan.file if network_plan.given else None
        doubts = [label_check.unchecked_labels_text(suite, self._plan.image_sets, given)]
        if given:
            doubts.append(label_order.doubt(images.labels, scored.predictions, suite.id.classes, images.classes))
            right, kept = accuracy(scored.predictions, images.labels), network_plan.pretrained
            if kept and not self._plan.image_sets.limit:
                doubts.append(label_check.accuracy_fall_text(kept.name, kept.accuracy, images.name, right))
            if self._normalisation_doubt is None and self._plan.image_sets.pack:
                self._normalisation_doubt = ""  # a feature pack has no pixels
            if self._normalisation_doubt is None:
                self._normalisation_doubt = normalisation_check.doubt(
                    self._network, suite.network, given, cell.detector, images, right, self._device
                )
            doubts.append(self._normalisation_doubt)
        doubts = [doubt for doubt in doubts if doubt]
        self.remarks |= dict.fromkeys(doubts)
        return "; ".join(doubts)


def _failure_text(detector: Detector, error: Exception) -> str:
    """The error of a detector in one line, with the line of its code unless the error is one that the code expects."""
    if isinstance(error, MissingPartError):
        return str(error.of(detector.name))
    if isinstance(error, NoGradientError):
        return f"{detector.name}: {error}"
    if isinstance(error, OodbenchError):
        return str(error)
    frames = extract_tb(error.__traceback__)
    file = inspect.getfile(type(detector))
    place = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"detector {detector.name!r} failed in {place.filename}, line {place.lineno}: {text}"
