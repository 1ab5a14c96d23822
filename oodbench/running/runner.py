"""Carrying out a plan: networks are trained, then the detectors over each network are fitted, scored and attacked."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.listeners import Say
from oodbench.basics.threads import on_threads
from oodbench.running import transfers
from oodbench.running.network_run import NetworkRun
from oodbench.running.plan import NetworkPlan, SuitePlan
from oodbench.running.records import note_failure
from oodbench.running.request import Machinery
from oodbench.running.train_or_load import provide


def execute(plans: Sequence[SuitePlan], machinery: Machinery, say: Say) -> list[str]:
    """Do what is missing in `plans`. What is finished is on disk at once: an interrupted run loses one group at most.

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
                run, failed = _score_network(plan, network_plan, machinery, say)
                failures += [f"{plan.suite.name}: {failure}" for failure in failed]
                runs |= {number: run} if run is not None and plan.demands.thorough else {}
        failures += [f"{plan.suite.name}: {failure}" for failure in _transfer(plan, runs, machinery, say)]
    return failures


def _score_network(
    plan: SuitePlan, network_plan: NetworkPlan, machinery: Machinery, say: Say
) -> tuple[NetworkRun | None, list[str]]:
    """Score the detectors over one network.

    Returns:
        The `NetworkRun` that scored them, None where that could not be done; and what failed, a line each.
    """
    pretrained = f", pretrained network {network_plan.pretrained.name}" if network_plan.pretrained else ""
    say(f"{plan.suite.name}: {network_plan.names}{pretrained}")
    run: NetworkRun | None = None
    try:
        with on_threads(network_plan.threads):
            run = NetworkRun(plan, network_plan, provide(plan, network_plan, machinery, say), machinery)
            run.score_all()
        for remark in run.remarks:
            say(f"{plan.suite.name}: {remark}")
    except StorageError:
        raise
    except OodbenchError as error:
        before = run.take_failures() if run is not None else []
        machinery.team.first(partial(note_failure, plan, network_plan, machinery.setup, str(error)))
        return None, [*before, f"{network_plan.names}: {error}"]
    return run, run.take_failures()


def _transfer(plan: SuitePlan, runs: Mapping[int, NetworkRun], machinery: Machinery, say: Say) -> Iterator[str]:
    """Try each detector on images that others were attacked with, where that is asked for and not yet done.

    Args:
        plan: whose detectors are scored.
        runs: what scored them, by the number of the network, where anything was scored.
        machinery: what calculates.
        say: told what is being done.

    Yields:
        What failed, a line each.
    """
    untried = machinery.team.first(partial(transfers.untried, plan))
    for number, network_plan in enumerate(plan.networks):
        of_network = {
            cell.cell.path: untried[cell.cell.path] for cell in network_plan.cells if cell.cell.path in untried
        }
        if not of_network:
            continue
        names = [cell.detector.name for cell in network_plan.cells if any(of_network.get(cell.cell.path, {}).values())]
        run = runs.get(number)
        if run is None and not (network_plan.given or network_plan.file.is_file()):
            for name in names:
                say(f"{plan.suite.name}: {name}: not tried on other detectors' images: its network is not there")
            continue
        if names:
            say(f"{plan.suite.name}: {', '.join(names)}: tried on images that other detectors were attacked with")
        try:
            with on_threads(network_plan.threads):
                if run is None:
                    run = NetworkRun(plan, network_plan, provide(plan, network_plan, machinery, say), machinery)
                for left_out in run.transfer(of_network):
                    say(f"{plan.suite.name}: {left_out}")
        except StorageError:
            raise
        except OodbenchError as error:
            yield f"{network_plan.names}: {error}"
        if run is not None:
            yield from run.take_failures()


def _needed(network_plan: NetworkPlan) -> bool:
    return network_plan.needed


def train(plans: Sequence[SuitePlan], machinery: Machinery, say: Say) -> list[str]:
    """Train the networks that `plans` need and that are not trained yet, and score nothing.

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
