"""The cost of a plan, counted in passes of images through the network that are left to do."""

from collections.abc import Sequence

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import passes_per_look
from oodbench.attacks.thorough_checks import THOROUGH, THOROUGH_IMAGES
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.objective import Objective
from oodbench.running.plan import CellPlan, NetworkPlan, Pair, SuitePlan
from oodbench.scoring.attacking import attack_passes
from oodbench.scoring.certified import bounding_passes
from oodbench.scoring.smoothed import smoothing_passes
from oodbench.tasks import Certified, Smoothed
from oodbench.tasks.versions import Versions

Search = tuple[Versions, str]
"""Versions of the images of a set that are all scored, and the name of that set."""


def passes(plan: SuitePlan) -> Passes:
    """The passes of everything that is left to do: training, scores and attacks."""
    return all_training_passes(plan) + scoring_passes(plan)


def scoring_passes(plan: SuitePlan) -> Passes:
    """The passes of `passes()` that scoring and attacking take; training is not included."""
    return sum((_scoring_passes(plan, network.cells) for network in plan.networks), Passes())


def all_training_passes(plan: SuitePlan) -> Passes:
    """The passes of `passes()` that the training of all networks takes."""
    return sum((training_passes(plan, network) for network in plan.networks), Passes())


def unshared_passes(plan: SuitePlan) -> Passes:
    """The passes of everything that is left if each cell is scored by itself and only training is shared."""
    scoring = (_scoring_passes(plan, [cell]) for cell in plan.cells)
    return sum(scoring, all_training_passes(plan))


def training_passes(plan: SuitePlan, network: NetworkPlan) -> Passes:
    """The passes that the training of a network still takes; none if it need not be trained."""
    return whole_training_passes(plan, network.objective, network.epochs_done) if network.to_train else Passes()


def whole_training_passes(plan: SuitePlan, objective: Objective, epochs_done: int = 0) -> Passes:
    """The passes of a training, without the `epochs_done` that are behind it, counted over all phases."""
    total = Passes()
    if plan.suite.training and plan.suite.id.train:
        for phase in objective.phases():
            epochs = phase.recipe(plan.suite.training).epochs
            done_of_phase = min(epochs_done, epochs)
            epochs_done -= done_of_phase
            total += phase.epoch_passes(_count(plan, plan.suite.id.train)) * (epochs - done_of_phase)
    return total


def tuning_passes(plan: SuitePlan, detector: Detector) -> Passes:
    """The passes of what a detector tries while it is tuned."""
    tuning = detector.tuning()
    return tuning.passes * plan.image_sets.tuning_images(tuning, plan.suite) if tuning else Passes()


def _scoring_passes(plan: SuitePlan, cells: Sequence[CellPlan]) -> Passes:
    """The passes of scoring cells over one network, which share what does not depend on the detector."""
    total = _shared_passes(plan, cells)
    for cell in cells:
        total += tuning_passes(plan, cell.detector) if cell.missing else Passes()
        for search in _searches(plan, cell):
            total += cell.detector.own_passes() * _looks(plan, search)
        for pair in cell.missing:
            total += _pair_passes(plan, cell.detector, pair)
    return total


def _shared_passes(plan: SuitePlan, cells: Sequence[CellPlan]) -> Passes:
    """The forward passes that all detectors over one network share: of learning, of smoothing and of searches."""
    smoothed = {pair for cell in cells for pair in cell.missing if plan.task(pair).smooths}
    searches = {search for cell in cells for search in _searches(plan, cell)}
    forward = sum(_copies(plan, pair) for pair in smoothed) + sum(_looks(plan, search) for search in searches)
    if plan.suite.id.train and any(cell.missing and cell.detector.observes() for cell in cells):
        forward += _count(plan, plan.suite.id.train)
    return Passes(forward=forward)


def _pair_passes(plan: SuitePlan, detector: Detector, pair: Pair) -> Passes:
    """The passes that one detector alone takes for a task on an image set."""
    task, count = plan.task(pair), _count(plan, pair[1])
    if isinstance(task, Smoothed):
        return smoothing_passes(task, detector, plan.role(pair[1]), count)
    if isinstance(task, Certified):
        outputs = plan.suite.id.classes + detector.objective().reject_outputs
        return bounding_passes(task, detector, outputs) * count
    if not task.attacks():
        return Passes()
    a_look = passes_per_look(detector, task.eot)
    attack = attack_passes(task, detector) * count
    convergence_check = convergence.COST * (convergence.number_to_continue(count, task.passes()) * a_look)
    full_check = THOROUGH * (a_look * min(count, THOROUGH_IMAGES)) if plan.checked_in_full(pair) else Passes()
    return attack + convergence_check + full_check


def _searches(plan: SuitePlan, cell: CellPlan) -> set[Search]:
    """The searches of a cell; tasks that begin with the same versions share one."""
    tasks = [(plan.task(pair), pair[1]) for pair in cell.missing]
    return {
        (task.versions(), image_set)
        for task, image_set in tasks
        if not (task.certifies or task.smooths) and (len(task.versions()) > 1 or not task.attacks())
    }


def _looks(plan: SuitePlan, search: Search) -> int:
    """The number of images that a search scores: each image of the set in every version."""
    versions, image_set = search
    return len(versions) * _count(plan, image_set)


def _copies(plan: SuitePlan, pair: Pair) -> int:
    """The number of noisy copies of an image set; each takes one pass for all detectors of a network."""
    task = plan.task(pair)
    return task.draws * _count(plan, pair[1]) if isinstance(task, Smoothed) else 0


def _count(plan: SuitePlan, image_set: str) -> int:
    return len(plan.images[image_set])
