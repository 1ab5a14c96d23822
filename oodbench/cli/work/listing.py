"""`oodbench list`: what can be named, and a few words about each."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path

import click

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.basics.user_cache import kept, sources_digest
from oodbench.images import catalogue
from oodbench.registry import Registry, discover
from oodbench.suite import DISTANCES
from oodbench.suitefiles import suitefile
from oodbench.tasks import KINDS, Task


def list_(what: str, form: str, data: Path, plugins: tuple[Path, ...]) -> None:
    """See `oodbench.cli.listing.list_`."""
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
    """The suites that ship with oodbench as a table in GitHub markdown: what is held against what, by which network."""
    rows = []
    for suite in map(suitefile.read, suitefile.names()):
        sets = {distance: [f"`{ood.set}`" for ood in suite.ood if ood.distance == distance] for distance in DISTANCES}
        held = "; ".join(f"{distance}: {', '.join(named)}" for distance, named in sets.items() if named)
        outliers = f"`{suite.outliers.set}`" if suite.outliers else "none"
        network, tasks = f"`{suite.network.called}`", ", ".join(suite.tasks)
        rows.append([f"`{suite.name}`", f"`{suite.id.test}`", held, outliers, network, tasks])
    headers = ["suite", "ID test images", "OOD test images", "outliers", "network", "tasks"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headers, ["---"] * len(headers), *rows))


def _title(name: str) -> str:
    """What a suite is, or what is wrong with it: the others can be listed all the same."""
    try:
        return suitefile.read(name).title
    except OodbenchError as error:
        return str(error)


def _corruption_lines() -> Mapping[str, str]:
    """What the functions say that carry them out, kept until any file of oodbench changes."""
    return kept("corruptions", sources_digest(_folder("oodbench")), _described_corruptions)


def _described_corruptions() -> dict[str, str]:
    from oodbench.corruptions.catalogue import CORRUPTIONS

    return {name: corruption.description for name, corruption in CORRUPTIONS.items()}


def _folder(package: str) -> Path:
    return Path(str(files(package)))


def _summary(kind: type[Task]) -> str:
    """The first sentence of its docstring, and what a suite may say of it."""
    sentence = " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".") + "."
    settings_of = ", ".join(field.name for field in fields(kind))  # type: ignore[arg-type]
    return f"{sentence}\nsays: {settings_of or 'nothing'}"


def _detector_lines(plugins: tuple[Path, ...]) -> dict[str, str]:
    """What there is to say of each detector.

    Most of it only the class can tell. Of built-in ones it is kept until any file of oodbench changes.
    """
    registry = discover(plugins)
    known = kept(
        "detectors",
        sources_digest(_folder("oodbench"), _folder("oodbench.detectors")),
        lambda: {name: _about(registry, name) for name in registry.built_in()},
    )
    return {name: known[name] if name in known else _about(registry, name) for name in registry.names()}


def _about(registry: Registry, name: str) -> str:
    from oodbench.cli.work.describing import about_detector

    return about_detector(registry[name])
