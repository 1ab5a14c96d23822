"""The plan of `oodbench run` and `oodbench tune`, printed before it is carried out."""

from collections.abc import Sequence

from oodbench.basics.listeners import Say
from oodbench.basics.words import counted
from oodbench.running import sweep
from oodbench.running.plan import NetworkPlan, RunPlan, SuitePlan
from oodbench.running.ray_cluster import Cluster
from oodbench.suite import Suite


def print_plan(run_plan: RunPlan, cluster: Cluster | None, count: int, say: Say) -> None:
    """Print what is to be done on each suite, where, and what it costs.

    Args:
        run_plan: what is to be done, for each seed.
        cluster: of Ray; None where this machine does the work.
        count: processes that work side by side.
        say: prints a line.
    """
    for number, plan in enumerate(run_plan.seeds[0].suites):
        networks_of_seeds = [*zip(*(seed.suites[number].networks for seed in run_plan.seeds), strict=True)]
        _print_suite_plan(plan, networks_of_seeds, say)
    for line in sweep.not_pretrained(run_plan):
        say(f"  {line}")
    if not run_plan.cells:
        return
    device, team = run_plan.machinery.device, run_plan.machinery.team
    numbers = [str(seed.request.seed) for seed in run_plan.seeds]
    seeds = f"seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
    processes = f", {team.size} processes" if team.size > 1 else ""
    processes += f", {count} jobs side by side" if count > 1 else ""
    where = "a Ray cluster" if cluster else f"device {device.type}{processes}"
    say(f"{seeds}, {where}; about {sweep.passes(run_plan, cluster)} of the network, in images")


def _print_suite_plan(plan: SuitePlan, networks_of_seeds: Sequence[Sequence[NetworkPlan]], say: Say) -> None:
    """Print what is to be done on one suite; nothing where it has no cell. Networks are grouped by objective."""
    suite = plan.suite
    if not any(network.cells for networks in networks_of_seeds for network in networks):
        return
    say(f"suite {suite.name} (version {suite.version}, fingerprint {suite.fingerprint[:8]}): {suite.title}")
    for difference in plan.image_sets.unlike:
        say(f"  NOTE {difference}: these rows compare with no others")
    for found in plan.image_sets.shared:
        say(f"  WARNING {found.warning}")
    for networks in networks_of_seeds:
        if names := dict.fromkeys(cell.detector.name for network in networks for cell in network.cells):
            say(f"  {', '.join(names)}: {_work_text(networks, suite)}")
    for parts in dict.fromkeys(network.parts for network in plan.networks if network.parts):
        say(f"  network {suite.network.called}: {parts}")


def _work_text(networks: Sequence[NetworkPlan], suite: Suite) -> str:
    """Return what is to be done over the networks of one objective, one for each seed."""
    kept = dict.fromkeys(network.pretrained.name for network in networks if network.pretrained)
    taken = f"pretrained network{'s' * (len(kept) > 1)} {', '.join(kept)}, " if kept else ""
    groups = sum(len(cell.missing) for network in networks for cell in network.cells)
    trained = sum(network.to_train for network in networks)
    times = f"{trained} times " if trained > 1 else ""
    begun = [network.epochs_done for network in networks if network.to_train and network.epochs_done]
    behind = f" ({', '.join(map(str, begun))} done before it was interrupted)" if begun else ""
    epochs = counted(networks[0].objective.epochs_in_all(suite.training), "epoch") if suite.training else ""
    train = f"train {times}for {epochs}{behind}, " if trained and epochs else ""
    return f"{taken}{train}score {counted(groups, 'image set')}" if groups else f"{taken}everything is there already"
