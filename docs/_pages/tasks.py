"""The page of tasks: what happens to images before they are scored."""

from collections.abc import Iterator
from dataclasses import fields

from docs._pages.page import Page, attributes, documented, table
from oodbench.corruptions.catalogue import CORRUPTIONS
from oodbench.tasks import KINDS, Task


def pages() -> Iterator[Page]:
    """One page with all of them."""
    parts = ["# Tasks", "A task says what happens to images before a detector scores them."]
    for kind, task in KINDS.items():
        parts += [f"## {kind}", documented(task).partition("Attributes:")[0].strip(), _constants(task)]
    rows = [(f"`{name}`", corruption.description) for name, corruption in CORRUPTIONS.items()]
    parts += ["## The corruptions", "Each comes in five severities.", table(rows, ["name", "what it does"])]
    yield Page("tasks.md", "Tasks and attacks", "\n\n".join(part for part in parts if part) + "\n")


def _constants(task: type[Task]) -> str:
    said = attributes(task)
    rows = [(f"`{field.name}`", said.get(field.name, "")) for field in fields(task)]  # type: ignore[arg-type]
    return table(rows, ["constant", "what it is"]) if rows else ""
