"""`oodbench tune`: values of a parameter planned, tried, and compared in a table."""

from collections.abc import Sequence
from typing import Any

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import require_writable
from oodbench.basics.team import is_launched, join_team
from oodbench.cli.work.output import print_status
from oodbench.cli.work.plan_text import print_plan
from oodbench.detector import Detector
from oodbench.registry import discover
from oodbench.results.metric_facts import FACTS
from oodbench.running import parallel, tuning
from oodbench.running.config import RunConfig
from oodbench.running.plan import RunPlan
from oodbench.running.request import choose_device
from oodbench.statistics.differences import Difference
from oodbench.suitefiles import settings


def tune(
    suite: str, detector: str, over: str | None, assignments: tuple[str, ...], jobs: str, **run_options: Any
) -> None:
    """Try values of a detector's parameter; `run_options` are fields of `RunConfig`."""
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, detector, parameters=changes, say=print_status, **run_options)
    plugins, (seed,) = config.plugin_files, config.seeds
    parsed_jobs = parallel.parse_jobs(jobs, alone=not is_launched())
    registry = discover(plugins)
    name, values = settings.parse_values(over) if over else _grid(registry[detector])
    team, device = click.get_current_context().with_resource(join_team(choose_device(config.device)))
    request = config.request(registry, device, team)
    planned = team.together(lambda: tuning.plan_trials(request, registry, name, values))
    team.first(lambda: require_writable(request.out, "--out"))
    count = parallel.processes(parsed_jobs, planned)
    for trial in planned.seeds:
        print_plan(RunPlan((trial,)), None, count, print_status)
    tuning.carry_out(planned, count, plugins, print_status)
    trials = [tuning.read_trial(trial, value) for trial, value in zip(planned.seeds, values, strict=True)]
    first = planned.suites[0]
    heldout, reserved = first.images[first.suite.id.test], first.images[first.suite.ood[0].set]
    click.echo(tuning.render(name, trials))
    click.echo(
        f"\nPercent; {len(heldout)} ID images held out of training against {len(reserved)} reserved outliers"
        f"{tuning.doubt(first)}, seed {seed}."
    )
    click.echo(" ".join(FACTS[metric].meaning for metric in tuning.METRICS))
    for note in (*tuning.notes(name, trials), *tuning.chance(name, _leads(planned, trials))):
        click.echo(note)
    click.echo(f"\n{tuning.advice(detector, name, trials)}")


def _leads(planned: RunPlan, trials: Sequence[tuning.Trial]) -> dict[str, Difference]:
    """How far the other values lie behind the best one, where that can be told."""
    best, tasks = tuning.best(trials), tuning.common_tasks(trials)
    if best is None:
        return {}
    (chosen,) = (seed for seed, trial in zip(planned.seeds, trials, strict=True) if trial is best)
    leads = {
        str(trial.value): tuning.lead(chosen, seed, tasks)
        for seed, trial in zip(planned.seeds, trials, strict=True)
        if trial is not best and not trial.doubted(tasks)
    }
    return {value: difference for value, difference in leads.items() if difference is not None}


def _grid(detector: type[Detector]) -> tuple[str, Sequence[Any]]:
    """Return the parameter and the values that a method suggests; OodbenchError where it suggests none."""
    if detector.grid is None:
        raise OodbenchError(
            f"{detector.name} names no parameter to try values of: say which with --over NAME=V1,V2,...; "
            f"`oodbench list detectors` has them"
        )
    return detector.grid
