"""`oodbench list`: what can be named."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.cli.options import Examples, data_option, plugin_option
from oodbench.corruptions.catalogue import CORRUPTIONS
from oodbench.detector import Detector
from oodbench.images import catalogue
from oodbench.objective import Objective
from oodbench.registry import discover
from oodbench.suite import DISTANCES
from oodbench.suitefiles import suitefile
from oodbench.tasks import KINDS, Task


@click.command("list", cls=Examples, examples=("oodbench list detectors", "oodbench list images"))
@click.argument("what", type=click.Choice(["detectors", "suites", "tasks", "corruptions", "images", "networks"]))
@click.option("--format", "form", type=click.Choice(["text", "github"]), default="text", help="Of suites: a table.")
@data_option
@plugin_option
def list_(what: str, form: str, data: Path, plugins: tuple[Path, ...]) -> None:
    """What can be named: detectors, suites, tasks, corruptions, images or networks."""
    if form == "github":
        if what != "suites":
            raise OodbenchError("--format github is for suites: leave it out")
        click.echo(suite_table())
        return
    lines: dict[str, Callable[[], dict[str, str]]] = {
        "detectors": lambda: _detector_lines(plugins),
        "suites": lambda: {name: _title(name) for name in suitefile.names()},
        "tasks": lambda: {name: _summary(kind) for name, kind in KINDS.items()},
        "corruptions": lambda: {name: corruption.description for name, corruption in CORRUPTIONS.items()},
        "images": lambda: {name: catalogue.describe(name, data) for name in catalogue.names(data)},
        "networks": lambda: {name: networks.describe(name) for name in networks.names()},
    }
    described = lines[what]()
    width = max(map(len, described), default=0)
    for name, description in described.items():
        first, *others = description.splitlines()
        click.echo(f"{name:{width}}  {first}")
        for line in others:
            click.echo(f"{'':{width}}  {line}")


def suite_table() -> str:
    """The suites that ship with oodbench as a table in GitHub markdown: what is held against what, by which network."""
    rows = []
    for suite in map(suitefile.load, suitefile.names()):
        sets = {distance: [f"`{ood.set}`" for ood in suite.ood if ood.distance == distance] for distance in DISTANCES}
        held = "; ".join(f"{distance}: {', '.join(named)}" for distance, named in sets.items() if named)
        outliers = f"`{suite.outliers.set}`" if suite.outliers else "none"
        network, tasks = f"`{suite.network.name}`", ", ".join(suite.tasks)
        rows.append([f"`{suite.name}`", f"`{suite.id.test}`", held, outliers, network, tasks])
    headers = ["suite", "ID test images", "OOD test images", "outliers", "network", "tasks"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, ["---"] * len(headers), *rows))


def _title(name: str) -> str:
    """What a suite is, or what is wrong with it: the others can be listed all the same."""
    try:
        return suitefile.load(name).title
    except OodbenchError as error:
        return str(error)


def _summary(kind: type[Task]) -> str:
    """The first sentence of its docstring, and what a suite may say of it."""
    sentence = " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".") + "."
    settings_of = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
    return f"{sentence}\nsays: {settings_of or 'nothing'}"


def _detector_lines(plugins: tuple[Path, ...]) -> dict[str, str]:
    registry = discover(plugins)
    return {name: _about_detector(registry[name]) for name in registry.names()}


def _about_detector(cls: type[Detector]) -> str:
    detector = cls()
    objective, tuning_wanted = detector.objective(), detector.tuning()
    images = "labelled ID" if detector.reads_labels else "ID"
    training = "a training of its own" if objective != Objective() else "a plainly trained network"
    needs = [f"{training} with outliers" if objective.uses_outliers else training]
    needs += [f"a fit on {images} training images"] if detector.observes() else []
    tuned = "nothing"
    if tuning_wanted:
        tuned = f"held-out {images} images" + (" and reserved outliers" if tuning_wanted.outliers else "")
    elif cls.grid:
        tuned = f"held-out ID images and reserved outliers, {cls.grid[0]} by `oodbench tune`"
    parameters = ", ".join(f"{name}={value}" for name, value in vars(detector.parameters).items())
    return "\n".join(
        [
            f"{(cls.__doc__ or '').strip().splitlines()[0]} {cls.paper}",
            f"needs {', '.join(needs)}; tuned on {tuned}",
            f"parameters: {parameters or 'none'}",
        ]
    )
