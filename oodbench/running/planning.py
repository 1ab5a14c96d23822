"""A request to what is to be done for it, checked and counted before anything is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from oodbench import scoring, training
from oodbench.basics import threads
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.sourcecode import code_digest
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.architecture import described
from oodbench.networks.cost import operations
from oodbench.networks.network import Network
from oodbench.networks.sizes import require_takes
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import IN_SCORES, IN_WEIGHTS, keyed
from oodbench.results.store import Cell
from oodbench.running import label_check
from oodbench.running.imagesets import ImageSets, Sample, gather, validation_suite
from oodbench.running.plan import (
    JUDGED,
    UNFINISHED,
    CellPlan,
    NetworkPlan,
    Planned,
    SuitePlan,
    missing_pairs,
    wanted_pairs,
)
from oodbench.running.request import Request
from oodbench.suite import Suite
from oodbench.suitefiles.settings import apply, of_task
from oodbench.training import pretrained
from oodbench.training.loop import epochs_done
from oodbench.training.pretrained import Choice
from oodbench.training.suite_network import build_network, checkpoint_digest, given_network, start_file


def plan(request: Request, registry: Registry) -> list[SuitePlan]:
    """Everything `request` asks for, validated; nothing is written.

    Raises:
        OodbenchError: a set is missing or broken, a parameter unknown, a checkpoint of another shape, and so on.
    """
    ((_, plans),) = plan_seeds(request, [request.seed], registry)
    return list(plans)


def plan_seeds(request: Request, seeds: Sequence[int], registry: Registry) -> list[Planned]:
    """`plan` for each of `seeds` in place of the request's own; all share the images in memory.

    Raises:
        OodbenchError: as `plan`.
    """
    seeded = [replace(request, seed=seed) for seed in seeds]
    of_suites = [_plan_suite(seeded, suite, registry) for suite in request.suites]
    return [(each, [plans[number] for plans in of_suites]) for number, each in enumerate(seeded)]


Choices = Mapping[Objective, Choice]
"""What there is of networks that need not be trained."""


def _plan_suite(seeded: Sequence[Request], original: Suite, registry: Registry) -> list[SuitePlan]:
    """A plan for each of the requests, which differ in their seed alone."""
    for name in original.detectors:
        registry[name]  # a misspelt table of parameters would be silently ignored otherwise
    request = seeded[0]
    suite, detectors = apply(request.settings, original, request.detectors)
    if request.validation:
        suite = validation_suite(suite)
    objectives = dict.fromkeys(detector.objective() for detector in detectors)
    chosen = [{objective: _choose(each, suite, objective) for objective in objectives} for each in seeded]
    image_sets = _gather(request, suite, detectors, chosen)
    plans = []
    for each, choices in zip(seeded, chosen, strict=True):
        _, own = apply(request.settings, original, request.detectors)  # what they learn is of one seed
        plans.append(_plan_seed(each, suite, own, image_sets, choices))
    return plans


def _choose(request: Request, suite: Suite, objective: Objective) -> Choice:
    if request.checkpoint:
        return Choice(file=request.checkpoint)
    return pretrained.choose(suite, objective, request.seed, request.data) if request.pretrained else Choice()


def _gather(request: Request, suite: Suite, detectors: Sequence[Detector], chosen: Sequence[Choices]) -> ImageSets:
    """The images for all seeds: those to train on where any seed trains."""
    ready = [objective for objective in chosen[0] if all(choices[objective].network for choices in chosen)]
    image_sets = _loaded(request, suite, detectors, ready)
    fitting = [one for one in ready if all(choices[one].on(image_sets.trained_on).network for choices in chosen)]
    return image_sets if fitting == ready else _loaded(request, suite, detectors, fitting)


def _loaded(request: Request, suite: Suite, detectors: Sequence[Detector], kept: Sequence[Objective]) -> ImageSets:
    """The images where some objectives have `kept` networks; those of the others are trained unless one is given."""
    sample = Sample(request.data, request.limit, request.images, request.validation)
    objectives = [] if request.checkpoint else [detector.objective() for detector in detectors]
    trained = [objective for objective in objectives if objective not in kept]
    return gather(sample, suite, detectors, trained, kept if request.pretrained else None)


def _plan_seed(
    request: Request, suite: Suite, detectors: Sequence[Detector], image_sets: ImageSets, choices: Choices
) -> SuitePlan:
    fitting = {objective: choice.on(image_sets.trained_on) for objective, choice in choices.items()}
    digests = {file: checkpoint_digest(file) for file in {choice.file for choice in fitting.values()}}
    cells: dict[Objective, list[CellPlan]] = {}
    for detector in detectors:
        objective = detector.objective()
        used = [digests[fitting[objective].file], *image_sets.learned_from(detector, suite)]
        cell = _plan_cell(request, suite, detector, image_sets.images, used)
        cells.setdefault(objective, []).append(cell)
    planned = [
        _plan_network(request, suite, objective, image_sets, tuple(group), fitting[objective])
        for objective, group in cells.items()
    ]
    return SuitePlan(suite, image_sets, tuple(planned), request.seed, _asked(request))


def _plan_network(
    request: Request,
    suite: Suite,
    objective: Objective,
    image_sets: ImageSets,
    cells: tuple[CellPlan, ...],
    choice: Choice,
) -> NetworkPlan:
    shape = image_sets.shape(suite)
    start = None if choice.file else start_file(suite, request.data)
    network = (
        given_network(suite, objective, shape, request.seed, choice.file)
        if choice.file
        else build_network(suite, objective, shape, request.seed, start)
    ).eval()
    require_takes(network, suite.network.name, shape)
    counted = operations(network, shape)
    number = request.threads or threads.suitable(counted, request.device)
    if choice.file:
        label_check.check_against_file(image_sets.images[suite.id.test], choice.file)
        return NetworkPlan(objective, choice.file, True, cells, counted, number, choice.network)
    assert suite.id.train is not None  # `gather` refuses to go without
    used = [image_sets.images[suite.id.train].fingerprint]
    if objective.uses_outliers and suite.outliers:
        used += [image_sets.images[suite.outliers.set].fingerprint, repr(suite.outliers)]
    recipe = [
        objective.identity,
        code_digest(type(objective), root=Objective),
        repr(suite.network),
        described(network),
        code_digest(*(type(part) for part in network.modules() if isinstance(part, Network)), root=Network),
        checkpoint_digest(start),
        json.dumps(suite.training and suite.training.meaning(), sort_keys=True),
        str(request.seed),
        *keyed(request.setup, IN_WEIGHTS),
    ]
    key = digest(str(training.VERSION), *recipe, *used)
    file = request.out / "networks" / f"{suite.network.name}-{key[:16]}.safetensors"
    done = 0 if file.is_file() else _epochs_done(file.with_suffix(UNFINISHED))
    return NetworkPlan(objective, file, False, cells, counted, number, why=choice.why, start=start, epochs_done=done)


def _epochs_done(unfinished: Path) -> int:
    """What is behind an interrupted training; none where its state is broken, which the training says itself."""
    try:
        return epochs_done(unfinished)
    except OodbenchError:
        return 0


def _plan_cell(
    request: Request, suite: Suite, detector: Detector, images: Mapping[str, ImageSet], learned_from: Sequence[str]
) -> CellPlan:
    # Results of a task whose constants were changed for one run stand beside the suite's own, never among them.
    retasked = [setting.text for setting in request.settings if of_task(setting, suite)]
    code = code_digest(type(detector), root=Detector)
    key = digest(
        suite.fingerprint,
        detector.name,
        *retasked,
        json.dumps(asdict(detector.parameters), sort_keys=True),
        code,
        *learned_from,
        str(request.seed),
        str(request.limit),
        str(request.images),
        str(scoring.VERSION),
        *keyed(request.setup, IN_SCORES),
    )
    cell = Cell(request.out / suite.name / detector.name / f"seed{request.seed}-{key[:12]}.h5")
    everything = CellPlan(detector, cell, key, code, tuple(wanted_pairs(suite, type(detector))))
    if request.again or not cell.path.is_file():
        return everything
    # A plan only counts: groups are looked at again by the network's own digest, and what reads the file names it.
    made_with = str(cell.attributes().get("network_digest", ""))
    return replace(everything, missing=tuple(missing_pairs(suite, images, everything, made_with, _asked(request))))


def _asked(request: Request) -> frozenset[str]:
    """What `request` wants of each attack beside its scores."""
    return frozenset(["images"] * request.keep_images + [JUDGED] * request.thorough)
