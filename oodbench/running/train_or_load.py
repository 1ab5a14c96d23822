"""The trained network that a plan asks for: trained now, or read where that was done before."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock

from oodbench.images.resident import OutlierPool, resident
from oodbench.networks import checkpoints
from oodbench.networks.compute import prepare
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.results.conditions import condition_attributes, place_text
from oodbench.running import label_check, network_provenance
from oodbench.running.imagesets import ImageSets
from oodbench.running.plan import UNFINISHED, NetworkPlan, SuitePlan
from oodbench.running.request import Machinery
from oodbench.suite import Suite
from oodbench.training import loop
from oodbench.training.suite_network import build_network, given_network

Say = Callable[[str], None]
"""Told what is being done, a line at a time."""


def provide(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery, say: Say) -> Network:
    """The trained network of a plan, on the device, ready to score: read where it exists, else trained and kept.

    Two runs that want it at the same time train it once.

    Raises:
        OodbenchError: training failed, or the network's file is broken or of another network.
        StorageError: it cannot be kept.
    """
    suite, objective, shape = plan.suite, network_plan.objective, plan.image_sets.shape(plan.suite)
    if network_plan.module is not None:
        network = network_plan.module
    elif network_plan.given:
        network = given(plan.image_sets, suite, objective, plan.seed, network_plan.file)
    else:
        _ensure(plan, network_plan, machinery, say)
        # Read back after training too, so that a first run and a resumed one score the very same weights.
        network = build_network(suite, objective, shape, plan.seed, network_plan.start)
        machinery.team.together(lambda: checkpoints.load(network, network_plan.file))
    return prepare(network.to(machinery.device).eval(), machinery.compute)


def given(image_sets: ImageSets, suite: Suite, objective: Objective, seed: int, file: Path) -> Network:
    """The network in `file`, or what stands for it where that is a feature pack.

    Raises:
        OodbenchError: the file is of another network, or broken.
    """
    if image_sets.pack:
        return image_sets.pack.network()
    return given_network(suite, objective, image_sets.shape(suite), seed, file)


def _ensure(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery, say: Say) -> None:
    """See to it that the network's file is there."""
    team, file = machinery.team, network_plan.file
    file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        team.first(lambda: _lock(stack, file))
        if not team.first(file.is_file):
            _train(plan, network_plan, machinery)
            say(f"network kept in {file}")


def _lock(stack: ExitStack, file: Path) -> None:
    stack.enter_context(FileLock(file.parent / f".{file.stem}.lock"))


def _train(plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery) -> None:
    suite, file = plan.suite, network_plan.file
    device, team, compute = machinery.device, machinery.team, machinery.compute
    assert suite.training is not None and suite.id.train is not None  # a plan without them does not train
    shape = plan.image_sets.shape(suite)
    network = build_network(suite, network_plan.objective, shape, plan.seed, network_plan.start).to(device)
    outliers = None
    if network_plan.objective.uses_outliers and suite.outliers:
        pool = resident(plan.images[suite.outliers.set].part(suite.outliers.trained), device)
        outliers = OutlierPool(pool.images, suite.outliers.mined_from, suite.outliers.augment, team)
    data = loop.TrainingData(resident(plan.images[suite.id.train], device), outliers)
    unfinished = file.with_suffix(UNFINISHED)
    prepare(network, compute)
    here = condition_attributes(machinery.setup)
    history = loop.train(
        network,
        network_plan.objective,
        suite.training,
        data,
        plan.seed,
        unfinished,
        compute,
        team,
        place_text(here["hardware"], here["torch"]),
    )
    provenance = {
        "objective": network_plan.objective.identity,
        "network": suite.network.trained_as,
        "recipe": repr(suite.training),
        "id_train": suite.id.train,
        network_provenance.SEED: str(plan.seed),
        **({network_provenance.LIMIT: str(plan.image_sets.limit)} if plan.image_sets.limit else {}),
        "seconds": f"{history.seconds:.1f}",
        **here,
        network_provenance.TRAINED_ON: network_provenance.together(history.places),
        **label_check.names_for_file(plan.images[suite.id.train]),
        **network_provenance.kept_out(suite, plan.image_sets, network_plan.objective, network_plan.start),
        **network_provenance.learned_from(suite, plan.image_sets, network_plan.objective),
        **network_provenance.trained_under(machinery.setup),
    }

    def keep() -> None:
        checkpoints.save(network, file, provenance)
        unfinished.unlink(missing_ok=True)

    team.first(keep)
