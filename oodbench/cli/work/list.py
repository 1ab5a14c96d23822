"""`oodbench list`: the names of a kind, and a few words about each."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import click

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.basics.user_cache import cached_texts, sources_digest
from oodbench.images import catalogue
from oodbench.registry import Registry, discover
from oodbench.suite import DISTANCES
from oodbench.suitefiles import suitefile
from oodbench.tasks import KINDS, Task


def list_(what: str, form: str, data: Path, plugins: tuple[Path, ...]) -> None:
    """Print each name of a kind with its description."""
    if form == "github":
        if what != "suites":
            raise OodbenchError("--format github is for suites: leave it out")
        click.echo(suite_table())
        return
    lines: dict[str, Callable[[], Mapping[str, str]]] = {
        "detectors": lambda: _detector_lines(plugins),
        "suites": lambda: {name: _title(name) for name in suitefile.names()},
        "tasks": lambda: {name: _summary(kind) for name, kind in KINDS.items()},
        "corruptions": _corruption_lines,
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
    """Return the suites that ship with oodbench as a table in GitHub markdown: sets, network and tasks of each."""
    rows = []
    for suite in map(suitefile.read, suitefile.names()):
        sets = {distance: [f"`{ood.set}`" for ood in suite.ood if ood.distance == distance] for distance in DISTANCES}
        ood_sets = "; ".join(f"{distance}: {', '.join(named)}" for distance, named in sets.items() if named)
        outliers = f"`{suite.outliers.set}`" if suite.outliers else "none"
        network, tasks = f"`{suite.network.called}`", ", ".join(suite.tasks)
        rows.append([f"`{suite.name}`", f"`{suite.id.test}`", ood_sets, outliers, network, tasks])
    headers = ["suite", "ID test images", "OOD test images", "outliers", "network", "tasks"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, ["---"] * len(headers), *rows))


def _title(name: str) -> str:
    """Return the title of a suite, or what is wrong with its file: the others can be listed all the same."""
    try:
        return suitefile.read(name).title
    except OodbenchError as error:
        return str(error)


def _corruption_lines() -> Mapping[str, str]:
    """Return the description of each corruption by its function, cached until any file of oodbench changes."""
    return cached_texts("corruptions", sources_digest(_folder("oodbench")), _described_corruptions)


def _described_corruptions() -> dict[str, str]:
    from oodbench.corruptions.catalogue import CORRUPTIONS

    return {name: corruption.description for name, corruption in CORRUPTIONS.items()}


def _folder(package: str) -> Path:
    return Path(str(files(package)))


def _summary(kind: type[Task]) -> str:
    """Return the first sentence of a task's docstring, and what a suite may say of it."""
    sentence = " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".") + "."
    settings_of = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
    return f"{sentence}\nsays: {settings_of or 'nothing'}"


def _detector_lines(plugins: tuple[Path, ...]) -> dict[str, str]:
    """Return the description of each detector.

    Most of it only the class can tell. Those of built-in detectors are cached until any file of oodbench changes.
    """
    registry = discover(plugins)
    known = cached_texts(
        "detectors",
        sources_digest(_folder("oodbench"), _folder("oodbench.detectors")),
        lambda: {name: _description(registry, name) for name in registry.built_in()},
    )
    return {name: known[name] if name in known else _description(registry, name) for name in registry.names()}


def _description(registry: Registry, name: str) -> str:
    from oodbench.cli.work.describing import about_detector

    return about_detector(registry[name])
