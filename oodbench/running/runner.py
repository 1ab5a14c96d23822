"""Carrying out a plan: have networks trained, then each one's detectors fitted, scored and attacked."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.threads import on_threads
from oodbench.running import judging
from oodbench.running.network_run import NetworkRun
from oodbench.running.plan import NetworkPlan, SuitePlan
from oodbench.running.records import note_failure
from oodbench.running.request import Machinery
from oodbench.running.train_or_load import Say, provide


def execute(plans: Sequence[SuitePlan], machinery: Machinery, say: Say) -> list[str]:
    """Do what is missing in `plans`. What is finished is on disk at once: an interrupted run loses one group.

    A team of processes trains, corrupts and attacks together; its first process alone reads and writes results.

    Returns:
        What was wrong with each detector that could not be trained, fitted or scored, a line each; the others are done.

    Raises:
        StorageError: results cannot be written.
    """
    failures: list[str] = []
    for plan in plans:
        runs: dict[int, NetworkRun] = {}
        for number, network_plan in enumerate(plan.networks):
            if machinery.team.first(partial(_needed, network_plan)):
                taken = f", pretrained network {network_plan.pretrained.name}" if network_plan.pretrained else ""
                say(f"{plan.suite.name}: {network_plan.names}{taken}")
                try:
                    with on_threads(network_plan.threads):
                        network = provide(plan, network_plan, machinery, say)
                        run = NetworkRun(plan, network_plan, network, machinery)
                        run.score_all()
                        for remark in run.remarks:
                            say(f"{plan.suite.name}: {remark}")
                except StorageError:
                    raise
                except OodbenchError as error:
                    failures.append(f"{plan.suite.name}: {network_plan.names}: {error}")
                    machinery.team.first(partial(note_failure, plan, network_plan, machinery.setup, str(error)))
                else:
                    failures += [f"{plan.suite.name}: {failure}" for failure in run.failures()]
                    runs |= {number: run} if plan.demands.thorough else {}
        failures += [f"{plan.suite.name}: {failure}" for failure in _judge(plan, runs, machinery, say)]
    return failures


def _judge(plan: SuitePlan, runs: Mapping[int, NetworkRun], machinery: Machinery, say: Say) -> Iterator[str]:
    """Hold attacks against those on other detectors, wherever that is asked for and not yet done; what failed.

    Args:
        plan: whose detectors are scored.
        runs: what scored them, by the number of the network, where anything was scored.
        machinery: what calculates.
        say: told what is being done.
    """
    unjudged = machinery.team.first(partial(judging.unjudged, plan))
    for number, network_plan in enumerate(plan.networks):
        mine = {cell.cell.path: unjudged[cell.cell.path] for cell in network_plan.cells if cell.cell.path in unjudged}
        if not mine:
            continue
        run = runs.get(number)
        if run is None and not (network_plan.given or network_plan.file.is_file()):
            say(f"{plan.suite.name}: {network_plan.names}: not judged by other detectors: the network is not there")
            continue
        tried = [cell.detector.name for cell in network_plan.cells if cell.cell.path in mine]
        say(f"{plan.suite.name}: {', '.join(tried)}: tried on images that other detectors were attacked with")
        try:
            with on_threads(network_plan.threads):
                if run is None:
                    run = NetworkRun(plan, network_plan, provide(plan, network_plan, machinery, say), machinery)
                run.judge(mine)
        except StorageError:
            raise
        except OodbenchError as error:
            yield f"{network_plan.names}: {error}"
        else:
            yield from run.failures()


def _needed(network_plan: NetworkPlan) -> bool:
    return network_plan.needed


def train(plans: Sequence[SuitePlan], machinery: Machinery, say: Say) -> list[str]:
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
                        provide(plan, network_plan, machinery, say)
                except StorageError:
                    raise
                except OodbenchError as error:
                    failures.append(f"{plan.suite.name}: {network_plan.names}: {error}")
                    machinery.team.first(partial(note_failure, plan, network_plan, machinery.setup, str(error)))
    return failures
