"""A page for each suite that comes with oodbench, and one that lists them."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from importlib.resources import files

from docs._pages.page import Page, linked, table
from oodbench.suite import Suite
from oodbench.suitefiles import suitefile


def pages() -> Iterator[Page]:
    """The list, then each suite in the order of names."""
    found = [suitefile.load(name) for name in suitefile.names()]
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
    parts += ["## The file", _file(suite)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _images(suite: Suite) -> str:
    rows = [("ID, tested", f"`{suite.id.test}`", f"{suite.id.classes} classes")]
    rows += [("ID, trained on", f"`{suite.id.train}`", "")] if suite.id.train else []
    rows += [("OOD", f"`{ood.set}`", ood.distance) for ood in suite.ood]
    rows += [("outliers, for methods that train with some", f"`{suite.outliers.set}`", "")] if suite.outliers else []
    return table(rows, ["as", "set", ""]) + "\n\n[Where each set comes from](../images.md)."


def _training(suite: Suite) -> str:
    if suite.training is None:
        return "None: networks come as checkpoints (`--checkpoint`)."
    return table([(name, value) for name, value in suite.training.meaning().items()], ["what", "value"])


def _tasks(suite: Suite) -> str:
    rows = []
    for name, task in suite.tasks.items():
        said = ", ".join(f"{field.name}={getattr(task, field.name)}" for field in fields(task))  # type: ignore[arg-type]
        rows.append((f"[{name}](../tasks.md#{task.kind})", said or "–"))
    return table(rows, ["name", "constants"])


def _file(suite: Suite) -> str:
    text = (files("oodbench.suites") / f"{suite.name}.toml").read_text(encoding="utf-8")
    return (
        f"`oodbench list suites` names them all; a file like this one of your own does as well.\n\n```toml\n{text}```"
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
