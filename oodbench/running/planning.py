"""A request to what is to be done for it, checked and counted before anything is written."""

import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from oodbench import networks, scoring, training
from oodbench.basics import threads
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.sourcecode import code_digest
from oodbench.detector import Detector
from oodbench.networks.architecture import architecture_text
from oodbench.networks.cost import operations
from oodbench.networks.identity import architectures, describe_input, describe_parts, identity
from oodbench.networks.named import AT
from oodbench.networks.network import Network
from oodbench.networks.sizes import require_takes
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import IN_SCORES, IN_WEIGHTS, Setup, key_parts
from oodbench.results.store import Cell
from oodbench.running import feature_runs, label_check
from oodbench.running.imagesets import ImageSets, Sample, gather, lacking, validation_suite
from oodbench.running.network_demands import require_climbable, require_trainable
from oodbench.running.plan import UNFINISHED, CellPlan, NetworkPlan, Planned, SuitePlan
from oodbench.running.request import Machinery, NetworkSource, Request
from oodbench.running.train_or_load import given
from oodbench.suite import NetworkSpec, Suite
from oodbench.suitefiles.settings import apply, changed_constants, settings_in_force
from oodbench.tasks import Smoothed
from oodbench.training import pretrained
from oodbench.training.loop import epochs_done
from oodbench.training.pretrained import Choice
from oodbench.training.suite_network import build_network, checkpoint_digest, network_in_memory, start_file


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
    of_suites = [_plan_suite(request, seeds, suite, registry) for suite in request.suites]
    return [(replace(request, seed=seed), [plans[n] for plans in of_suites]) for n, seed in enumerate(seeds)]


Choices = Mapping[Objective, Choice]
"""What there is of networks that need not be trained."""


def _plan_suite(request: Request, seeds: Sequence[int], original: Suite, registry: Registry) -> list[SuitePlan]:
    """A plan for each of the seeds; the request is taken apart here, and nothing below knows of all of it."""
    for name in original.detectors:
        registry[name]  # a misspelt table of parameters would be silently ignored otherwise
    sample, source = request.sample, request.source
    suite, detectors = apply(request.settings, original, request.detectors)
    settings, retasked = settings_in_force(request.settings, original), changed_constants(original, suite)
    if sample.validation:
        suite = validation_suite(suite)
    reasons = _unable(source, suite, detectors, request.unnamed)
    detectors = [one for one in detectors if one.name not in reasons]
    objectives = dict.fromkeys(detector.objective() for detector in detectors)
    chosen = [{one: _choose(source, suite, one, seed, sample.data) for one in objectives} for seed in seeds]
    image_sets = _gather(sample, source, suite, detectors, chosen)
    _require_draws(suite, image_sets)
    plans = []
    for seed, choices in zip(seeds, chosen, strict=True):
        _, own = apply(request.settings, original, request.detectors)  # what they learn is of one seed
        bare = SuitePlan(
            suite, settings, retasked, sample, image_sets, seed, request.demands, left_out=_by_reason(reasons)
        )
        able = [one for one in own if one.name not in reasons]
        plans.append(_with_networks(bare, able, choices, request.machinery, request.out))
    return plans


def _unable(
    source: NetworkSource, suite: Suite, detectors: Sequence[Detector], unnamed: Container[str]
) -> dict[str, str]:
    """Which of the `unnamed` detectors can do nothing with the suite or with a network that is given, and why.

    None where nothing else is asked for: then what the first one lacks is an error.
    """
    found = {one.name: _why_unable(source, suite, one) for one in detectors if one.name in unnamed}
    reasons = {name: why for name, why in found.items() if why}
    return {} if len(reasons) == len(detectors) else reasons


def _why_unable(source: NetworkSource, suite: Suite, detector: Detector) -> str:
    if source.given and detector.objective() != Objective():
        return "trains its network in its own way, and how the given one was trained nobody says: name it to score it"
    return lacking(detector, suite, not source.given)


def _by_reason(reasons: Mapping[str, str]) -> tuple[str, ...]:
    names = {why: [name for name, other in reasons.items() if other == why] for why in reasons.values()}
    return tuple(f"{', '.join(those)} ({'each ' * (len(those) > 1)}{why})" for why, those in names.items())


def _require_draws(suite: Suite, image_sets: ImageSets) -> None:
    """OodbenchError where a task smooths scores by too few draws to guarantee anything of some image set."""
    for task in suite.tasks.values():
        if isinstance(task, Smoothed):
            moved = [suite.id.test] * task.moves("id") + [one.set for one in suite.tested] * task.moves("ood")
            for name in moved:
                task.require_enough(len(image_sets.images[name]))


def _choose(source: NetworkSource, suite: Suite, objective: Objective, seed: int, data: Path) -> Choice:
    if source.given:
        return Choice(file=source.file, module=source.module)
    return pretrained.choose(suite, objective, seed, data) if source.pretrained else Choice()


def _gather(
    sample: Sample, source: NetworkSource, suite: Suite, detectors: Sequence[Detector], chosen: Sequence[Choices]
) -> ImageSets:
    """The images for all seeds: those to train on where any seed trains."""
    if source.features:
        pack = feature_runs.load(source.features)
        return feature_runs.image_sets(pack, suite, detectors, sample.limit, sample.images)
    ready = [objective for objective in chosen[0] if all(choices[objective].network for choices in chosen)]
    image_sets = _loaded(sample, source, suite, detectors, ready)
    fitting = [one for one in ready if all(choices[one].on(image_sets.trained_on).network for choices in chosen)]
    return image_sets if fitting == ready else _loaded(sample, source, suite, detectors, fitting)


def _loaded(
    sample: Sample, source: NetworkSource, suite: Suite, detectors: Sequence[Detector], kept: Sequence[Objective]
) -> ImageSets:
    """The images where some objectives have `kept` networks; those of the others are trained unless one is given."""
    objectives = [] if source.given else [detector.objective() for detector in detectors]
    trained = [objective for objective in objectives if objective not in kept]
    return gather(sample, suite, detectors, trained, kept if source.pretrained else None)


def _with_networks(
    bare: SuitePlan, detectors: Sequence[Detector], choices: Choices, machinery: Machinery, out: Path
) -> SuitePlan:
    """The plan with its networks and the detectors over each, whose results go to the folder `out`."""
    image_sets = bare.image_sets
    fitting = {objective: choice.on(image_sets.trained_on) for objective, choice in choices.items()}
    digests = {file: checkpoint_digest(file) for file in {choice.file for choice in fitting.values()}}
    cells: dict[Objective, list[CellPlan]] = {}
    for detector in detectors:
        objective = detector.objective()
        choice = fitting[objective]
        used = [digests[choice.file], *_plugged(bare, choice), *image_sets.learned_from(detector, bare.suite)]
        cells.setdefault(objective, []).append(_plan_cell(bare, detector, used, machinery.setup, out))
    planned = [
        _plan_network(bare, objective, tuple(group), fitting[objective], machinery, out)
        for objective, group in cells.items()
    ]
    return replace(bare, networks=tuple(planned))


def _plugged(bare: SuitePlan, choice: Choice) -> list[str]:
    """What stands in keys for a network that is none of oodbench's: its code, and of a module all that it is."""
    if bare.image_sets.pack:
        return []
    if choice.module is not None:
        return [identity(choice.module)]
    code = networks.code(bare.suite.network.name)
    return [code] if code else []


def _plan_network(
    bare: SuitePlan,
    objective: Objective,
    cells: tuple[CellPlan, ...],
    choice: Choice,
    machinery: Machinery,
    out: Path,
) -> NetworkPlan:
    suite, image_sets, seed = bare.suite, bare.image_sets, bare.seed
    shape = image_sets.shape(suite)
    start = None if choice.file or choice.module else start_file(suite, bare.sample.data)
    if choice.module is not None:
        network = network_in_memory(choice.module, suite, objective, shape)
    elif choice.file:
        network = given(image_sets, suite, objective, seed, choice.file).eval()
    else:
        network = build_network(suite, objective, shape, seed, start).eval()
    require_takes(network, suite.network.called, shape)
    counted = operations(network, shape)
    number = machinery.threads or threads.suitable_threads(counted, machinery.device)
    parts = _said(suite.network, network)
    require_climbable(network, suite, shape, {task for cell in cells for task, _ in cell.missing})
    if choice.module is not None:
        named = Path(suite.network.called)
        return NetworkPlan(objective, named, True, cells, counted, number, module=network, parts=parts)
    if choice.file:
        label_check.check_against_file(image_sets.images[suite.id.test], choice.file)
        return NetworkPlan(objective, choice.file, True, cells, counted, number, choice.network, parts=parts)
    require_trainable(network, shape)
    assert suite.id.train is not None  # `gather` refuses to go without
    used = [image_sets.images[suite.id.train].fingerprint]
    if objective.uses_outliers and suite.outliers:
        used += [image_sets.images[suite.outliers.set].fingerprint, repr(suite.outliers)]
    recipe = [
        objective.identity,
        code_digest(type(objective), root=Objective),
        suite.network.trained_as,
        architecture_text(network),
        code_digest(*architectures(network), root=Network),
        *_plugged(bare, choice),
        checkpoint_digest(start),
        json.dumps(suite.training and suite.training.meaning(), sort_keys=True),
        str(seed),
        *key_parts(machinery.setup, IN_WEIGHTS),
    ]
    key = digest(str(training.VERSION), *recipe, *used)
    file = out / "networks" / f"{re.sub('[:/@]+', '-', suite.network.called)}-{key[:16]}.safetensors"
    done = 0 if file.is_file() else _epochs_done(file.with_suffix(UNFINISHED))
    return NetworkPlan(
        objective, file, False, cells, counted, number, why=choice.why, start=start, epochs_done=done, parts=parts
    )


def _said(spec: NetworkSpec, network: Network) -> str:
    """What of a network, and of how images go into it, its name alone does not say; "" of those that come along."""
    if AT not in spec.name:
        return describe_parts(network)
    into = describe_input(network, spec.input_preprocessing())
    return "; ".join(filter(None, [describe_parts(network), into]))


def _epochs_done(unfinished: Path) -> int:
    """What is behind an interrupted training; none where its state is broken, which the training says itself."""
    try:
        return epochs_done(unfinished)
    except OodbenchError:
        return 0


def _plan_cell(bare: SuitePlan, detector: Detector, learned_from: Sequence[str], setup: Setup, out: Path) -> CellPlan:
    suite = bare.suite
    code, over = code_digest(type(detector), root=Detector), detector.over()
    key = digest(
        suite.fingerprint,
        detector.name,
        *bare.retasked,
        json.dumps(asdict(detector.parameters), sort_keys=True),
        code,
        *([code_digest(type(over), root=Detector)] if over else []),
        *learned_from,
        str(bare.seed),
        str(bare.sample.limit),
        str(bare.sample.images),
        str(scoring.VERSION),
        *key_parts(setup, IN_SCORES),
    )
    cell = Cell(out / suite.name / detector.name / f"seed{bare.seed}-{key[:12]}.h5")
    planned = CellPlan(detector, cell, key, code, ())
    # A plan only counts: groups are looked at again by the network's own digest, and what reads the file names it.
    return replace(planned, missing=tuple(bare.lacking(planned)))
