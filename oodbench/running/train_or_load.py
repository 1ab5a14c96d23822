"""The trained network that a plan asks for: trained now, or read where it was trained before."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from oodbench.basics.listeners import Say
from oodbench.images.resident import OutlierPool, resident
from oodbench.networks import checkpoints
from oodbench.networks.compute import prepare
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.results.conditions import Setup, condition_attributes, place_text
from oodbench.running import label_check, network_provenance
from oodbench.running.imagesets import ImageSets
from oodbench.running.plan import UNFINISHED, NetworkPlan, SuitePlan
from oodbench.running.request import Machinery
from oodbench.suite import Suite
from oodbench.training import loop
from oodbench.training.suite_network import build_network, given_network


def provide(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery, say: Say) -> Network:
    """The trained network of a plan, on the device, ready to score: read where it exists, else trained and kept.

    Two runs that want the same network at the same time train it once.

    Raises:
        OodbenchError: training failed, or the network's file is broken or of another network.
        StorageError: the trained network cannot be written.
    """
    suite, objective, shape = plan.suite, network_plan.objective, plan.image_sets.shape(plan.suite)
    if network_plan.module is not None:
        network = network_plan.module
    elif network_plan.given:
        network = load_given(plan.image_sets, suite, objective, plan.seed, network_plan.file)
    else:
        _ensure_file(plan, network_plan, machinery, say)
        # Read back after training too, so that a first run and a resumed one score the very same weights.
        network = build_network(suite, objective, shape, plan.seed, network_plan.start)
        machinery.team.together(lambda: checkpoints.load(network, network_plan.file))
    return prepare(network.to(machinery.device).eval(), machinery.compute)


def load_given(image_sets: ImageSets, suite: Suite, objective: Objective, seed: int, file: Path) -> Network:
    """The network in `file`, or the pack's own stand-in for a network where images come from a feature pack.

    Raises:
        OodbenchError: the file is of another network, or broken.
    """
    if image_sets.pack:
        return image_sets.pack.network()
    return given_network(suite, objective, image_sets.shape(suite), seed, file)


def _ensure_file(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery, say: Say) -> None:
    """Train the network and keep it, unless its file is there already."""
    team, file = machinery.team, network_plan.file
    file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        team.first(lambda: _lock(stack, file))
        if not team.first(file.is_file):
            _train(plan, network_plan, machinery)
            say(f"network kept in {file}")


def _lock(stack: ExitStack, file: Path) -> None:
    """Keep other runs from training the network in `file` until the stack is closed."""
    stack.enter_context(FileLock(file.parent / f".{file.stem}.lock"))


def _train(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery) -> None:
    """Train the network of a plan and keep it in its file, with its provenance."""
    suite, objective, file = plan.suite, network_plan.objective, network_plan.file
    assert suite.training is not None  # a plan without it does not train
    network = build_network(suite, objective, plan.image_sets.shape(suite), plan.seed, network_plan.start)
    network = network.to(machinery.device)
    data = _training_data(plan, objective, machinery)
    unfinished = file.with_suffix(UNFINISHED)
    prepare(network, machinery.compute)
    here = condition_attributes(machinery.setup)
    history = loop.train(
        network,
        objective,
        suite.training,
        data,
        plan.seed,
        unfinished,
        machinery.compute,
        machinery.team,
        place_text(here["hardware"], here["torch"]),
    )
    provenance = _provenance(plan, network_plan, machinery.setup, here, history)

    def keep() -> None:
        checkpoints.save(network, file, provenance)
        unfinished.unlink(missing_ok=True)

    machinery.team.first(keep)


def _training_data(plan: SuitePlan, objective: Objective, machinery: Machinery) -> loop.TrainingData:
    """The images that a training sees, on the device."""
    suite, device = plan.suite, machinery.device
    assert suite.id.train is not None  # a plan without it does not train
    outliers = None
    if objective.uses_outliers and suite.outliers:
        pool = resident(plan.images[suite.outliers.set].part(suite.outliers.trained), device)
        outliers = OutlierPool(pool.images, suite.outliers.mined_from, suite.outliers.augment, machinery.team)
    return loop.TrainingData(resident(plan.images[suite.id.train], device), outliers)


def _provenance(
    plan: SuitePlan, network_plan: NetworkPlan, setup: Setup, here: Mapping[str, str], history: loop.History
) -> dict[str, str]:
    """The metadata that go into the file of a network that was trained now.

    Args:
        plan: of the suite.
        network_plan: of the network.
        setup: what calculated.
        here: the same in words, see `condition_attributes`, from before the training.
        history: of the training.
    """
    suite, image_sets, objective = plan.suite, plan.image_sets, network_plan.objective
    return {
        **network_provenance.training_metadata(suite, objective, plan.seed),
        **({network_provenance.LIMIT: str(image_sets.limit)} if image_sets.limit else {}),
        "seconds": f"{history.seconds:.1f}",
        **here,
        network_provenance.TRAINED_ON: network_provenance.join_places(history.places),
        **label_check.class_names_metadata(plan.images[str(suite.id.train)]),
        **network_provenance.unseen_metadata(suite, image_sets, objective, network_plan.start),
        **network_provenance.seen_metadata(suite, image_sets, objective),
        **network_provenance.precision_metadata(setup),
    }
