"""`oodbench tune`: values of a parameter planned, tried, and compared in a table."""

from collections.abc import Sequence
from typing import Any

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.team import is_launched, join_team
from oodbench.cli.work.output import print_status
from oodbench.cli.work.plan_text import print_plan
from oodbench.detector import Detector
from oodbench.registry import discover
from oodbench.results import store
from oodbench.running import parallel, tuning
from oodbench.running.config import RunConfig
from oodbench.running.plan import RunPlan
from oodbench.running.request import choose_device
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
    team.first(lambda: store.require_writable(request.out))
    count = parallel.processes(parsed_jobs, planned)
    for trial in planned.seeds:
        print_plan(RunPlan((trial,)), None, count, print_status)
    tuning.carry_out(planned, count, plugins, print_status)
    trials = [tuning.read_trial(trial, value) for trial, value in zip(planned.seeds, values, strict=True)]
    first = planned.suites[0]
    heldout, reserved = first.images[first.suite.id.test], first.images[first.suite.ood[0].set]
    click.echo(tuning.render(name, trials))
    click.echo(
        f"\nFPR@95 in percent, {len(heldout)} ID images held out of training, {len(reserved)} reserved outliers"
        f"{tuning.doubt(first)}, seed {seed}."
    )
    for note in tuning.notes(name, trials):
        click.echo(note)
    click.echo(f"\n{tuning.advice(detector, name, trials)}")


def _grid(detector: type[Detector]) -> tuple[str, Sequence[Any]]:
    """Return the parameter and the values that a method suggests; OodbenchError where it suggests none."""
    if detector.grid is None:
        raise OodbenchError(
            f"{detector.name} names no parameter to try values of: say which with --over NAME=V1,V2,...; "
            f"`oodbench list detectors` has them"
        )
    return detector.grid
