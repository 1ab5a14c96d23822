"""A page for each suite that comes with oodbench, and one that lists them."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.resources import files

from docs._pages import figures, images, loaded
from docs._pages.detectors import address
from docs._pages.page import Page, linked, table
from oodbench.images import builtin
from oodbench.suite import Suite


def pages() -> Iterator[Page]:
    """The list, then each suite in the order of names."""
    found = loaded.suites()
    rows = [(f"[{suite.name}]({suite.name}.md)", suite.title, ", ".join(suite.tasks) or "clean") for suite in found]
    listed = table(rows, ["name", "what", "tasks"])
    about = "A suite says which images stand against which, with which network, and what happens to them."
    yield Page("suites/index.md", "All suites", f"# Suites\n\n{about}\n\n{listed}\n")
    for suite in found:
        yield Page(f"suites/{suite.name}.md", suite.name, _page(suite))


def _page(suite: Suite) -> str:
    parts = [f"# {suite.name}", f"{suite.title}. Version {suite.version}.", linked(suite.paper)]
    parts += ["## Images", _images(suite)]
    network = f"`{suite.network.called}`, which sees images normalised by mean {_numbers(suite.network.mean)}"
    parts += ["## Network", f"{network} and deviation {_numbers(suite.network.std)}."]
    parts += ["## Training", _training(suite), "## Tasks", _tasks(suite)]
    if measured := _measured(suite):
        parts += ["## Measured", measured]
    parts += ["## The file", _file(suite)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _images(suite: Suite) -> str:
    roles = [(f"ID, tested, {suite.id.classes} classes", suite.id.test)]
    roles += [("ID, trained on", suite.id.train)] if suite.id.train else []
    roles += [(f"OOD, {ood.distance}", ood.set) for ood in suite.ood]
    roles += [("outliers, for methods that train with some", suite.outliers.set)] if suite.outliers else []
    rows = [(role, images.link(name, "../images"), *images.row(name)) for role, name in roles]
    parts = [table(rows, ["as", "set", "what", "terms, or source", "to know"])]
    drawn = dict.fromkeys(name for _, name in roles if name in builtin.BUILTINS)
    parts += [f"`{name}`:\n\n![images of {name}](../images/{name}.png)" for name in drawn]
    return "\n\n".join(parts)


def _measured(suite: Suite) -> str:
    """Every detector that was measured, the best under the strongest attack first."""
    found = {name: figures.measured(suite.name, name) for name in figures.measured_detectors(suite.name)}
    tasks = [task for task in ("clean", *suite.tasks, "linf-adaptive") if any(task in one for one in found.values())]
    tasks = list(dict.fromkeys(tasks))
    if not tasks:
        return ""
    order = sorted(found, key=lambda name: -found[name].get(tasks[-1], (0.0, -1.0, ""))[1])
    rows = [(f"[{name}](../{address(name)})", *(figures.cell(found[name], task) for task in tasks)) for name in order]
    listed = table(rows, ["detector", *tasks])
    return f"{figures.HEAD} in percent, means over the OOD sets, sorted by the last column.\n\n{listed}"


def _training(suite: Suite) -> str:
    if suite.training is None:
        return "None: networks come as checkpoints (`--checkpoint`)."
    return table([(name, value) for name, value in suite.training.meaning().items()], ["what", "value"])


def _tasks(suite: Suite) -> str:
    rows = []
    for name, task in suite.tasks.items():
        said = ", ".join(f"{field.name}={getattr(task, field.name)}" for field in fields(task))  # type: ignore[arg-type]
        rows.append((f"[{name}](../tasks/{task.kind}.md)", said or "–"))
    return table(rows, ["name", "constants"])


def _file(suite: Suite) -> str:
    text = (files("oodbench.suites") / f"{suite.name}.toml").read_text(encoding="utf-8")
    return (
        f"`oodbench list suites` names them all; a file like this one of your own does as well.\n\n```toml\n{text}```"
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
