"""Planning: what a request asks for is checked, and what is missing is counted, before anything is written."""

import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from oodbench import networks, scoring, training
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.sourcecode import code_digest
from oodbench.basics.threads import suitable_threads
from oodbench.detector import Detector
from oodbench.networks.architecture import architecture_text
from oodbench.networks.cost import operations
from oodbench.networks.identity import architectures, describe_input, describe_parts, identity
from oodbench.networks.named import AT
from oodbench.networks.network import MissingPartError, Network
from oodbench.networks.sizes import require_takes
from oodbench.objective import Objective
from oodbench.registry import Registry
from oodbench.results.conditions import IN_SCORES, IN_WEIGHTS, Setup, key_parts
from oodbench.results.store import Cell
from oodbench.running import feature_runs, label_check
from oodbench.running.imagesets import ImageSets, Sample, gather, lacking, validation_suite
from oodbench.running.missing_parts import missing_parts
from oodbench.running.network_demands import require_climbable, require_trainable
from oodbench.running.plan import UNFINISHED, CellPlan, NetworkPlan, RunPlan, SeedPlan, SuitePlan
from oodbench.running.request import Machinery, NetworkSource, Request
from oodbench.running.train_or_load import load_given
from oodbench.suite import NetworkSpec, Suite
from oodbench.suitefiles.settings import apply, changed_constants, settings_in_force
from oodbench.tasks import Smoothed
from oodbench.training import pretrained
from oodbench.training.loop import epochs_done
from oodbench.training.pretrained import Choice, Pretrained
from oodbench.training.suite_network import build_network, checkpoint_digest, network_in_memory, start_file


def plan(request: Request, registry: Registry) -> list[SuitePlan]:
    """A plan for each suite of `request`, checked; nothing is written.

    Raises:
        OodbenchError: a set is missing or broken, a parameter unknown, a checkpoint of another shape, and so on.
    """
    (seed_plan,) = plan_seeds(request, [request.seed], registry).seeds
    return list(seed_plan.suites)


def plan_seeds(request: Request, seeds: Sequence[int], registry: Registry) -> RunPlan:
    """The plan of `request` with each of `seeds` in place of its own; all share the images in memory.

    Raises:
        OodbenchError: as `plan`.
    """
    by_suite = [_plan_suite(request, seeds, suite, registry) for suite in request.suites]
    by_seed = [tuple(suite_plans[number] for suite_plans in by_suite) for number in range(len(seeds))]
    return RunPlan(
        tuple(SeedPlan(replace(request, seed=seed), suites) for seed, suites in zip(seeds, by_seed, strict=True))
    )


Choices = Mapping[Objective, Choice]
"""The network that takes the place of a training, if there is one, by objective."""


def _plan_suite(request: Request, seeds: Sequence[int], original: Suite, registry: Registry) -> list[SuitePlan]:
    """A plan for each of the seeds; the functions below it get the parts of the request that they need."""
    for name in original.detectors:
        registry[name]  # a misspelt table of parameters would be silently ignored otherwise
    sample, source = request.sample, request.source
    suite, detectors = apply(request.settings, original, request.detectors)
    settings, retasked = settings_in_force(request.settings, original), changed_constants(original, suite)
    if sample.validation:
        suite = validation_suite(suite)
    reasons = _unsupported_detectors(source, suite, detectors, request.unnamed)
    detectors = [detector for detector in detectors if detector.name not in reasons]
    objectives = dict.fromkeys(detector.objective() for detector in detectors)
    choices_by_seed = [
        {objective: _choose(source, suite, objective, seed, sample.data) for objective in objectives} for seed in seeds
    ]
    image_sets = _gather(sample, source, suite, detectors, choices_by_seed)
    _require_draws(suite, image_sets)
    unnamed = [detector for detector in detectors if detector.name in request.unnamed]
    lacks = missing_parts(source, suite, unnamed, image_sets.shape(suite))
    if len(lacks) < len(detectors):  # else what the first one lacks is an error
        reasons |= lacks
    plans = []
    for seed, choices in zip(seeds, choices_by_seed, strict=True):
        _, of_seed = apply(request.settings, original, request.detectors)  # detectors learn anew with each seed
        bare = SuitePlan(
            suite,
            settings,
            retasked,
            sample,
            image_sets,
            seed,
            request.demands,
            left_out=_reasons_text(reasons),
            unnamed=request.unnamed,
        )
        supported = [detector for detector in of_seed if detector.name not in reasons]
        plans.append(_add_networks(bare, supported, choices, request.machinery, request.out))
    return plans


def _unsupported_detectors(
    source: NetworkSource, suite: Suite, detectors: Sequence[Detector], unnamed: Container[str]
) -> dict[str, str]:
    """The `unnamed` detectors that can do nothing with the suite or with a network that is given, with the reasons.

    Nothing is returned where no other detector is asked for: then what the first one lacks is an error.
    """
    lacks = {detector.name: _lack(source, suite, detector) for detector in detectors if detector.name in unnamed}
    reasons = {name: reason for name, reason in lacks.items() if reason}
    return {} if len(reasons) == len(detectors) else reasons


def _lack(source: NetworkSource, suite: Suite, detector: Detector) -> str:
    """Why a detector can do nothing with the suite or with a network that is given; "" if it can."""
    if source.given and detector.objective() != Objective():
        return "trains its network in its own way, and how the given one was trained nobody says: name it to score it"
    return lacking(detector, suite, not source.given)


def _reasons_text(reasons: Mapping[str, str]) -> tuple[str, ...]:
    """Reasons by detector as lines for people, one a reason."""
    names = {reason: [name for name, other in reasons.items() if other == reason] for reason in reasons.values()}
    return tuple(
        f"{', '.join(detectors)} ({'each ' * (len(detectors) > 1)}{reason})" for reason, detectors in names.items()
    )


def _require_draws(suite: Suite, image_sets: ImageSets) -> None:
    """Raise OodbenchError where a task smooths scores by too few draws to guarantee anything of some image set."""
    for task in suite.tasks.values():
        if isinstance(task, Smoothed):
            moved = [suite.id.test] * task.moves("id") + [ood.set for ood in suite.tested] * task.moves("ood")
            for name in moved:
                task.require_enough(len(image_sets.images[name]))


def _choose(source: NetworkSource, suite: Suite, objective: Objective, seed: int, data: Path) -> Choice:
    if source.given:
        return Choice(file=source.file, module=source.module)
    return pretrained.choose(suite, objective, seed, data) if source.pretrained else Choice()


def _gather(
    sample: Sample,
    source: NetworkSource,
    suite: Suite,
    detectors: Sequence[Detector],
    choices_by_seed: Sequence[Choices],
) -> ImageSets:
    """The images for all seeds; training images are loaded where the network of any seed is trained."""
    if source.features:
        pack = feature_runs.load(source.features)
        return feature_runs.image_sets(pack, suite, detectors, sample.limit, sample.images)
    kept = [
        objective for objective in choices_by_seed[0] if all(choices[objective].network for choices in choices_by_seed)
    ]
    image_sets = _load_images(sample, source, suite, detectors, kept)
    # Only the loaded images tell whether a kept network was trained on these: if not, it is trained and needs more.
    fitting = [
        objective
        for objective in kept
        if all(choices[objective].on(image_sets.trained_on).network for choices in choices_by_seed)
    ]
    return image_sets if fitting == kept else _load_images(sample, source, suite, detectors, fitting)


def _load_images(
    sample: Sample, source: NetworkSource, suite: Suite, detectors: Sequence[Detector], kept: Sequence[Objective]
) -> ImageSets:
    """The images where some objectives have `kept` networks; those of the others are trained unless one is given."""
    objectives = [] if source.given else [detector.objective() for detector in detectors]
    trained = [objective for objective in objectives if objective not in kept]
    return gather(sample, suite, detectors, trained, kept if source.pretrained else None)


def _add_networks(
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
        learned_from = [
            digests[choice.file],
            *_user_network_digests(bare, choice),
            *image_sets.learned_from(detector, bare.suite),
        ]
        cells.setdefault(objective, []).append(_plan_cell(bare, detector, learned_from, machinery.setup, out))
    networks = []
    for objective, of_network in cells.items():
        try:
            networks.append(_plan_network(bare, objective, tuple(of_network), fitting[objective], machinery, out))
        except MissingPartError as error:  # its way of training needs what the network does not have
            raise error.of(", ".join(cell.detector.name for cell in of_network)) from error
    return replace(bare, networks=tuple(networks))


def _user_network_digests(bare: SuitePlan, choice: Choice) -> list[str]:
    """Digests that stand in keys for a network that is not oodbench's own: of its code, or of a module in memory."""
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
    """The plan of the network of one objective, which is a module in memory, a file, or is trained."""
    if choice.module is not None:
        return _plan_module(bare, objective, cells, choice.module, machinery)
    if choice.file:
        return _plan_file(bare, objective, cells, choice.file, choice.network, machinery)
    return _plan_training(bare, objective, cells, choice, machinery, out)


def _plan_module(
    bare: SuitePlan, objective: Objective, cells: tuple[CellPlan, ...], module: nn.Module, machinery: Machinery
) -> NetworkPlan:
    """The plan of a network that somebody has in memory."""
    network = network_in_memory(module, bare.suite, objective, bare.image_sets.shape(bare.suite))
    count, threads = _require_usable(bare, network, cells, machinery)
    name = Path(bare.suite.network.called)
    parts = _parts_text(bare.suite.network, network)
    return NetworkPlan(objective, name, True, cells, count, threads, module=network, parts=parts)


def _plan_file(
    bare: SuitePlan,
    objective: Objective,
    cells: tuple[CellPlan, ...],
    file: Path,
    pretrained: Pretrained | None,
    machinery: Machinery,
) -> NetworkPlan:
    """The plan of a network that is in a file: a checkpoint, a feature pack, or one that is kept for everybody."""
    try:
        network = load_given(bare.image_sets, bare.suite, objective, bare.seed, file).eval()
    except OodbenchError as error:
        if not objective.reject_outputs:
            raise
        names = ", ".join(cell.detector.name for cell in cells)
        raise OodbenchError(f"{names}, with a reject class beside those of the suite: {error}") from error
    count, threads = _require_usable(bare, network, cells, machinery)
    parts = _parts_text(bare.suite.network, network)
    label_check.check_against_file(bare.images[bare.suite.id.test], file)
    return NetworkPlan(objective, file, True, cells, count, threads, pretrained, parts=parts)


def _plan_training(
    bare: SuitePlan,
    objective: Objective,
    cells: tuple[CellPlan, ...],
    choice: Choice,
    machinery: Machinery,
    out: Path,
) -> NetworkPlan:
    """The plan of a network that is trained, or was trained so in an earlier run that had the same folder `out`."""
    suite, shape = bare.suite, bare.image_sets.shape(bare.suite)
    start = start_file(suite, bare.sample.data)
    network = build_network(suite, objective, shape, bare.seed, start).eval()
    count, threads = _require_usable(bare, network, cells, machinery)
    parts = _parts_text(suite.network, network)
    require_trainable(network, shape)
    key = _training_key(bare, objective, network, _user_network_digests(bare, choice), start, machinery.setup)
    file = out / "networks" / f"{re.sub('[:/@]+', '-', suite.network.called)}-{key[:16]}.safetensors"
    done = 0 if file.is_file() else _epochs_done(file.with_suffix(UNFINISHED))
    return NetworkPlan(
        objective,
        file,
        False,
        cells,
        count,
        threads,
        why_not_pretrained=choice.why_not_pretrained,
        start=start,
        epochs_done=done,
        parts=parts,
    )


def _require_usable(
    bare: SuitePlan, network: Network, cells: Sequence[CellPlan], machinery: Machinery
) -> tuple[int, int]:
    """See to it that a network, in evaluation mode, takes the suite's images and has a gradient where attacks need it.

    Returns:
        Floating-point operations of a forward pass over one image, and the threads to run it on.
    """
    suite, shape = bare.suite, bare.image_sets.shape(bare.suite)
    require_takes(network, suite.network.called, shape)
    count = operations(network, shape)
    require_climbable(network, suite, shape, {task for cell in cells for task, _ in cell.missing})
    return count, machinery.threads or suitable_threads(count, machinery.device)


def _training_key(
    bare: SuitePlan,
    objective: Objective,
    network: Network,
    user_network_digests: Sequence[str],
    start: Path | None,
    setup: Setup,
) -> str:
    """The key of a training: a hash of everything that moves its weights."""
    suite, images = bare.suite, bare.images
    assert suite.id.train is not None  # `gather` refuses to go without
    learned_from = [images[suite.id.train].fingerprint]
    if objective.uses_outliers and suite.outliers:
        learned_from += [images[suite.outliers.set].fingerprint, repr(suite.outliers)]
    return digest(
        str(training.VERSION),
        objective.identity,
        code_digest(type(objective), root=Objective),
        suite.network.trained_as,
        architecture_text(network),
        code_digest(*architectures(network), root=Network),
        *user_network_digests,
        checkpoint_digest(start),
        json.dumps(suite.training and suite.training.meaning(), sort_keys=True),
        str(bare.seed),
        *key_parts(setup, IN_WEIGHTS),
        *learned_from,
    )


def _parts_text(spec: NetworkSpec, network: Network) -> str:
    """The parts of a network that are used, and how images go into it, for people; "" where its name says all."""
    if AT not in spec.name:
        return describe_parts(network)
    into = describe_input(network, spec.input_preprocessing())
    return "; ".join(filter(None, [describe_parts(network), into]))


def _epochs_done(unfinished: Path) -> int:
    """Epochs behind an interrupted training; 0 where its state is broken, which the training itself reports."""
    try:
        return epochs_done(unfinished)
    except OodbenchError:
        return 0


def _plan_cell(bare: SuitePlan, detector: Detector, learned_from: Sequence[str], setup: Setup, out: Path) -> CellPlan:
    """The plan of one cell.

    Args:
        bare: plan of the suite, without networks.
        detector: of the cell, unfitted.
        learned_from: digests of the network and of the images that the detector learns from.
        setup: what calculates.
        out: results folder.
    """
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
    # This list only estimates the work. Before scoring, `Records.missing` checks each group again with the digest of
    # the weights. Whoever reads a broken file reports it.
    return replace(planned, missing=tuple(bare.missing_by_file(planned)))
