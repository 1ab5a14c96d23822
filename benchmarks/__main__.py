"""`python -m benchmarks`: the table of ratios, with the machine it was measured on."""

import importlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import torch
from tabulate import tabulate

from benchmarks.compare import Row
from benchmarks.setting import FULL, GPU, QUICK, Setting
from oodbench.basics.memory import keep_freed_memory
from oodbench.results.conditions import Setup, condition_attributes
from oodbench.running.request import choose_device

GROUPS = ("metrics", "scoring", "attack", "training", "corruption", "pytorch-ood", "memory", "rate", "door")
"""Each is measured by the file of its name."""

FORMATS = ("github", "plain", "json")

NETWORKS = [*FULL.scored, *GPU.scored]
"""Those of a CPU, and those of a GPU."""

BUSY = 0.5
"""Load average above which the machine was doing something else."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--only", multiple=True, type=click.Choice(GROUPS), metavar="GROUP", help=f"Of {', '.join(GROUPS)}.")
@click.option("--network", "networks", multiple=True, type=click.Choice(NETWORKS), help="Only this one.")
@click.option("--quick", is_flag=True, help="Small sizes, one repetition, to try it: the figures mean nothing.")
@click.option("--device", default="cpu", show_default=True, help="Where networks run: auto, cpu, cuda or cuda:0.")
@click.option("--threads", type=click.IntRange(min=1), help="Of torch on the CPU; as torch chooses if not given.")
@click.option("--repetitions", type=click.IntRange(min=1), help="Of each comparison, instead of the usual number.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="github", show_default=True)
def main(
    only: Sequence[str],
    networks: Sequence[str],
    quick: bool,
    device: str,
    threads: int | None,
    repetitions: int | None,
    form: str,
) -> None:
    """What the harness costs: ratios, each measured side by side, interleaved, on this machine.

    A cost is the harness's time over the other side's, a speed-up the other way round; median, lowest and highest over
    the repetitions. Networks have random weights. Close everything else first.
    """
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    on_gpu = choose_device(device).type == "cuda"
    sizes = QUICK if quick else GPU if on_gpu else FULL
    if networks:
        sizes = sizes.over(networks)
    if repetitions:
        sizes = sizes.repeated(repetitions)
    about = _about(choose_device(device), sizes.repetitions, quick)
    rows = []
    with tempfile.TemporaryDirectory(prefix="oodbench-benchmarks-") as folder:
        setting = Setting(sizes, choose_device(device), Path(folder))
        for group in only or GROUPS:
            for row in measuring(group)(setting):
                click.echo(f"{row.group}: {row.what}: {row.ratio.median:.3g}", err=True)
                rows.append(row)
    click.echo(_rendered(rows, about, form))


def measuring(group: str) -> Callable[[Setting], Iterator[Row]]:
    """What measures the rows of `group`.

    Raises:
        click.ClickException: it compares with libraries that are not installed.
    """
    try:
        module = importlib.import_module(f"benchmarks.{group.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{group} compares with {error.name}, which is not installed: pip install -e '.[bench]', or name others "
            "with --only"
        ) from error
    measure: Callable[[Setting], Iterator[Row]] = module.measure
    return measure


def _about(device: torch.device, repetitions: int, quick: bool) -> dict[str, str]:
    """What the figures rest on, said before anything is measured."""
    load = os.getloadavg()[0]
    return {
        **condition_attributes(Setup(device)),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "load": f"{load:.2f} when it began" + ("; the machine was busy, so these are no results" * (load > BUSY)),
        "repetitions": str(repetitions) + ("; quick sizes, so these are no results" * quick),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} logical cores" if names else platform.processor() or platform.machine()


def _rendered(rows: Sequence[Row], about: dict[str, str], form: str) -> str:
    if form == "json":
        return json.dumps({"machine": about, "rows": [{**asdict(row), "met": row.met} for row in rows]}, indent=2)
    lines = [
        {
            "group": row.group,
            "oodbench": row.what,
            "against": row.against,
            "": row.kind,
            "median": f"{row.ratio.median:.3g}",
            "lowest to highest": f"{row.ratio.low:.3g} to {row.ratio.high:.3g}",
            "target": "" if row.target is None else f"{'≤' if row.kind == 'cost' else '≥'} {row.target:g}",
            "met": {True: "yes", False: "NO", None: ""}[row.met],
            "note": row.note,
        }
        for row in rows
    ]
    head = "\n".join(f"{name}: {value}" for name, value in about.items())
    return f"{head}\n\n{tabulate(lines, headers='keys', tablefmt=form, disable_numparse=True)}"


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
