"""`oodbench run` and `oodbench tune`: say what is planned, do it, show what came of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.basics.progress import written
from oodbench.basics.team import gathered, launched
from oodbench.basics.words import counted
from oodbench.cli.terminal import width
from oodbench.detector import Detector
from oodbench.registry import discover
from oodbench.results import store, tables
from oodbench.running import parallel, sweep, tuning
from oodbench.running.config import RunConfig
from oodbench.running.plan import NetworkPlan, Planned
from oodbench.running.prepared import prepared
from oodbench.running.ray_cluster import Cluster
from oodbench.running.request import choose_device, parse_seeds
from oodbench.sources.trained import surprise
from oodbench.suite import Suite
from oodbench.suitefiles import settings
from oodbench.suitefiles.selection import parse_radii


def run(
    seed: int,
    seeds: str | None,
    radii: str | None,
    checks: str,
    assignments: tuple[str, ...],
    rerun: str,
    dry_run: bool,
    **described: Any,
) -> None:
    """Train, attack and score; see `oodbench.cli.verbs.run` for what the words mean."""
    config = RunConfig(
        seed=parse_seeds(seeds) if seeds else seed,
        radii=parse_radii(radii) if radii else (),
        parameters=tuple(settings.parse(text) for text in assignments),
        again=rerun == "all",
        thorough=checks == "full",
        say=_say,
        **described,
    )
    ready = click.get_current_context().with_resource(prepared(config))
    say = click.echo if dry_run else _say
    if ready.shard:
        say(ready.shard)
    _announce(ready.planned, ready.cluster, ready.count, say)
    if dry_run:
        return
    failures = ready.carry_out()
    out = Path(config.out)
    if ready.team.leads and not (frame := sweep.frame(ready.planned, {})).empty:
        click.echo(tables.compact(frame, tables.View(sets=tuple(config.only)), width()))
        for said in _surprises(described["checkpoint"], ready.suites, frame):
            click.echo(f"WARNING: {said}", err=True)
        click.echo(f"\nScores are in {out.resolve()}: `oodbench table {out}` shows them again.")
    try:
        for said in ready.log():
            click.echo(said)
    except OodbenchError as error:
        failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


def tune(
    suite: str, detector: str, over: str | None, assignments: tuple[str, ...], jobs: str, **described: Any
) -> None:
    """Try values; see `oodbench.cli.verbs.tune` for what the words mean."""
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, detector, parameters=changes, say=_say, **described)
    plugins, (seed,) = config.plugin_files, config.seeds
    asked_jobs = parallel.parse_jobs(jobs, alone=not launched())
    registry = discover(plugins)
    name, values = settings.parse_values(over) if over else _grid(registry[detector])
    team, device = click.get_current_context().with_resource(gathered(choose_device(config.device)))
    request = config.request(registry, device, team)
    planned = team.together(lambda: tuning.plans(request, registry, name, values))
    team.first(lambda: store.require_writable(request.out))
    count = parallel.processes(asked_jobs, [(each, [plan_of_value]) for each, plan_of_value in planned])
    for each, plan_of_value in planned:
        _announce([(each, [plan_of_value])], None, count, _say)
    tuning.carry_out(planned, count, plugins, _say)
    trials = [tuning.trial(*each, value) for each, value in zip(planned, values, strict=True)]
    _, first = planned[0]
    heldout, reserved = first.images[first.suite.id.test], first.images[first.suite.ood[0].set]
    click.echo(tuning.render(name, trials))
    click.echo(
        f"\nFPR@95 in percent, {len(heldout)} ID images held out of training, {len(reserved)} reserved outliers"
        f"{tuning.doubt(first)}, seed {seed}."
    )
    for said in tuning.notes(name, trials):
        click.echo(said)
    click.echo(f"\n{tuning.advice(detector, name, trials)}")


def _grid(detector: type[Detector]) -> tuple[str, Sequence[Any]]:
    if detector.grid is None:
        raise OodbenchError(
            f"{detector.name} names no parameter to try values of: say which with --over NAME=V1,V2,...; "
            f"`oodbench list detectors` has them"
        )
    return detector.grid


def _say(line: str) -> None:
    with written():
        click.echo(line, err=True)


def _surprises(checkpoint: str | None, suites: Sequence[Suite], frame: pd.DataFrame) -> list[str]:
    """What is odd about the accuracy of a trained network that has a name."""
    if checkpoint is None:
        return []
    right = frame[(frame.metric == "accuracy") & (frame.limit == 0) & frame.value.notna()]
    tests = {suite.name: suite.id.test for suite in suites}
    rows = zip(right["suite"].astype(str), right["value"].astype(float), strict=True)
    found = [surprise(checkpoint, tests[suite], accuracy) for suite, accuracy in rows]
    return sorted({said for said in found if said})


def _announce(planned: Sequence[Planned], cluster: Cluster | None, count: int, say: Callable[[str], None]) -> None:
    request, plans = planned[0]
    device, team = request.machinery.device, request.machinery.team
    for number, each in enumerate(plans):
        suite = each.suite
        networks_of = [*zip(*(plans_of_seed[number].networks for _, plans_of_seed in planned), strict=True)]
        if not any(network.cells for networks in networks_of for network in networks):
            continue
        say(f"suite {suite.name} (version {suite.version}, fingerprint {suite.fingerprint[:8]}): {suite.title}")
        for said in each.image_sets.unlike:
            say(f"  NOTE {said}: these rows compare with no others")
        for said in each.image_sets.shared:
            say(f"  WARNING {said}: figures that rest on these are too good or too bad")
        for networks in networks_of:
            if names := dict.fromkeys(cell.detector.name for network in networks for cell in network.cells):
                say(f"  {', '.join(names)}: {_todo(networks, suite)}")
        for parts in dict.fromkeys(network.parts for network in each.networks if network.parts):
            say(f"  network {suite.network.called}: {parts}")
    for said in sweep.not_pretrained(planned):
        say(f"  {said}")
    if not sweep.cells(planned):
        return
    seeds = f"seed{'s' if len(planned) > 1 else ''} {', '.join(str(each.seed) for each, _ in planned)}"
    processes = f", {team.size} processes" if team.size > 1 else ""
    processes += f", {count} jobs side by side" if count > 1 else ""
    where = "a Ray cluster" if cluster else f"device {device.type}{processes}"
    say(f"{seeds}, {where}; about {sweep.passes(planned, cluster)} of the network, in images")


def _todo(networks: Sequence[NetworkPlan], suite: Suite) -> str:
    """What is to be done over the networks of one objective, one a seed."""
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
