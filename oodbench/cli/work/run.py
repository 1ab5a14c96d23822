"""`oodbench run`: the plan printed, carried out, and its figures shown."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.cli.terminal import warn, width
from oodbench.cli.work.output import print_status
from oodbench.cli.work.plan_text import print_plan
from oodbench.results import tables
from oodbench.running import sweep
from oodbench.running.config import RunConfig
from oodbench.running.prepared import prepared
from oodbench.running.request import parse_seeds
from oodbench.sources.trained import accuracy_warning
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
    **run_options: Any,
) -> None:
    """Train, attack and score detectors; `run_options` are fields of `RunConfig`."""
    config = RunConfig(
        seed=parse_seeds(seeds) if seeds else seed,
        radii=parse_radii(radii) if radii else (),
        parameters=tuple(settings.parse(text) for text in assignments),
        again=rerun == "all",
        thorough=checks == "full",
        say=print_status,
        **run_options,
    )
    ready = click.get_current_context().with_resource(prepared(config))
    say = click.echo if dry_run else print_status
    if ready.shard:
        say(ready.shard)
    print_plan(ready.run_plan, ready.cluster, ready.count, say)
    if dry_run:
        return
    failures = ready.carry_out()
    out = Path(config.out)
    if ready.team.leads and not (frame := sweep.frame(ready.run_plan, {})).empty:
        click.echo(tables.render_compact(frame, tables.View(sets=tuple(config.only)), width()))
        for line in _odd_accuracies(run_options["checkpoint"], ready.suites, frame):
            warn(line)
        click.echo(f"\nScores are in {out.resolve()}: `oodbench table {quote(str(out))}` shows them again.")
    try:
        for line in ready.log():
            click.echo(line)
    except OodbenchError as error:
        failures.append(str(error))
    if failures:
        raise OodbenchError("\n".join(failures))


def _odd_accuracies(checkpoint: str | None, suites: Sequence[Suite], frame: pd.DataFrame) -> list[str]:
    """Return lines on the accuracy of a trained network that has a name, where it is not the published one."""
    if checkpoint is None:
        return []
    accuracies = frame[(frame.metric == "accuracy") & (frame.limit == 0) & frame.value.notna()]
    tests = {suite.name: suite.id.test for suite in suites}
    rows = zip(accuracies["suite"].astype(str), accuracies["value"].astype(float), strict=True)
    lines = [accuracy_warning(checkpoint, tests[suite], accuracy) for suite, accuracy in rows]
    return sorted({line for line in lines if line})
