"""The verbs: parse, call one function, print."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
import torch

from oodbench import __version__, networks, runner, settings, store, suitefile, tables
from oodbench.errors import OodbenchError
from oodbench.images import catalogue
from oodbench.metrics import CONVENTIONS
from oodbench.passes import Passes
from oodbench.plan import Request, SuitePlan, plan
from oodbench.registry import discover

INTERRUPTED = 130
"""Exit code of a run stopped by Ctrl-C, as shells have it."""


class _Examples(click.Command):
    """A command whose help ends with two lines that run as they stand."""

    def __init__(self, *args: Any, examples: tuple[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write("Examples:\n" + "".join(f"  {example}\n" for example in self.examples))


class _Group(_Examples, click.Group):
    """The command itself."""


plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Python file that defines detectors; repeatable.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    envvar="OODBENCH_DATA",
    show_envvar=True,
    help="Folder of image packs (HDF5).",
)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    examples=("oodbench list detectors", "oodbench run --suite digits-adv --detector msp --detector atom"),
)
@click.version_option(__version__, prog_name="oodbench")
def commands() -> None:
    """Does an out-of-distribution detector hold up, also when someone attacks it?"""


@commands.command(
    cls=_Examples,
    examples=(
        "oodbench run --suite digits --detector msp",
        "oodbench run --suite digits-adv --detector msp --detector atom --limit 100",
    ),
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    required=True,
    metavar="NAME|FILE",
    help="Suite by name or TOML file, or 'all'; repeatable.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Detector by name, or 'all'; repeatable.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of training and attacks.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:n]", help="Where networks run.")
@data_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Results folder."
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A trained network for every detector, instead of training.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the first N images of each ID and OOD set; rows say so.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a parameter: epochs=1, atom.q=0.25, linf.steps=10; repeatable.",
)
@plugin_option
@click.option(
    "--rerun",
    type=click.Choice(["missing", "all"]),
    default="missing",
    show_default=True,
    help="What to do of what is already there.",
)
def run(
    suites: tuple[str, ...],
    detectors: tuple[str, ...],
    seed: int,
    device: str,
    data: Path,
    out: Path,
    checkpoint: Path | None,
    limit: int | None,
    assignments: tuple[str, ...],
    plugins: tuple[Path, ...],
    rerun: str,
) -> None:
    """Train, attack and score detectors on suites; scores land in the results folder.

    What is there already is not done again. Interrupt it at any time: the same command goes on where it stopped.
    """
    registry = discover(plugins)
    names = suitefile.names() if "all" in suites else list(dict.fromkeys(suites))
    methods = registry.names() if "all" in detectors else list(dict.fromkeys(detectors))
    request = Request(
        suites=tuple(suitefile.load(name) for name in names),
        detectors=tuple(registry[name] for name in methods),
        seed=seed,
        device=_device(device),
        data=data,
        out=out,
        checkpoint=checkpoint,
        limit=limit,
        settings=tuple(settings.parse(text) for text in assignments),
        again=rerun == "all",
    )
    plans = plan(request, registry)
    store.require_writable(out)
    _announce(plans, request)
    runner.execute(request, plans, say=lambda line: click.echo(line, err=True))
    cells = [cell.cell for each in plans for network in each.networks for cell in network.cells]
    click.echo(tables.render(tables.tidy(cells, {})))
    click.echo(f"\nScores are in {out.resolve()}: `oodbench table {out}` shows them again.")


@commands.command(
    cls=_Examples, examples=("oodbench table results/", "oodbench table results/ --by ood --convention published")
)
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option(
    "--format",
    "form",
    type=click.Choice(["github", "csv"]),
    default="github",
    show_default=True,
    help="csv is tidy: one metric a row, fractions.",
)
@click.option(
    "--by",
    type=click.Choice(["task", "ood"]),
    default="task",
    show_default=True,
    help="Mean over OOD sets, or a row each.",
)
@click.option(
    "--convention",
    type=click.Choice(sorted(CONVENTIONS)),
    default="default",
    show_default=True,
    help="'published' computes metrics as the ATOM paper did.",
)
@plugin_option
def table(results: Path, form: str, by: str, convention: str, plugins: tuple[Path, ...]) -> None:
    """Compute metrics from the scores in a results folder and print them."""
    registry = discover(plugins)
    detectors = {name: registry[name] for name in registry.names()}
    frame = tables.tidy(store.cells(results), detectors, convention)
    click.echo(frame.to_csv(index=False) if form == "csv" else tables.render(frame, by), nl=form != "csv")


@commands.command("list", cls=_Examples, examples=("oodbench list detectors", "oodbench list images"))
@click.argument("what", type=click.Choice(["detectors", "suites", "images", "networks"]))
@data_option
@plugin_option
def list_(what: str, data: Path, plugins: tuple[Path, ...]) -> None:
    """What can be named: detectors, suites, images or networks."""
    lines: dict[str, Callable[[], dict[str, str]]] = {
        "detectors": lambda: _detector_lines(plugins),
        "suites": lambda: {name: suitefile.load(name).title for name in suitefile.names()},
        "images": lambda: {name: catalogue.describe(name, data) for name in catalogue.names(data)},
        "networks": lambda: {name: networks.describe(name) for name in networks.names()},
    }
    described = lines[what]()
    width = max(map(len, described), default=0)
    for name, description in described.items():
        click.echo(f"{name:{width}}  {description}")


def main() -> NoReturn:
    """The `oodbench` command: exit code 0, 2 for a mistake that the user can mend, 130 when interrupted."""
    try:
        commands(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OodbenchError as error:
        click.echo(f"oodbench: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("\noodbench: interrupted; the same command goes on where this one stopped", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise OodbenchError(f"--device {name!r} is not a device: choose auto, cpu, cuda or cuda:0")
    found = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= found:
        raise OodbenchError(f"--device {name} asks for a GPU and torch sees {found}: use --device auto, or cpu")
    return torch.device(name)


def _announce(plans: list[SuitePlan], request: Request) -> None:
    for each in plans:
        suite = each.suite
        click.echo(
            f"suite {suite.name} (version {suite.version}, fingerprint {suite.fingerprint[:8]}): {suite.title}",
            err=True,
        )
        for network in each.networks:
            names = ", ".join(cell.detector.name for cell in network.cells)
            groups = sum(len(cell.missing) for cell in network.cells)
            train = f"train for {suite.training.epochs} epochs, " if network.to_train and suite.training else ""
            todo = f"{train}score {groups} image sets" if groups else "everything is there already"
            click.echo(f"  {names}: {todo}", err=True)
    total = sum((each.passes() for each in plans), Passes())
    click.echo(f"seed {request.seed}, device {request.device}; about {total} of the network, in images", err=True)


def _detector_lines(plugins: tuple[Path, ...]) -> dict[str, str]:
    registry = discover(plugins)
    lines = {}
    for name in registry.names():
        detector = registry[name]
        parameters = ", ".join(f"{key}={value}" for key, value in vars(detector.Parameters()).items())
        summary = (detector.__doc__ or "").strip().splitlines()[0]
        lines[name] = f"{summary} {detector.paper}." + (f" Parameters: {parameters}." if parameters else "")
    return lines
