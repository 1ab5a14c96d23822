"""A page for each task, which says what happens to images before they are scored, and one that lists them."""

from collections.abc import Iterator
from dataclasses import MISSING, fields

from docs._pages import loaded
from docs._pages.page import Page, attributes, documented, table
from oodbench.corruptions.catalogue import CORRUPTIONS
from oodbench.corruptions.gallery import gallery
from oodbench.images import builtin
from oodbench.tasks import KINDS, Smoothed, Task

PICTURE = "tasks/corruptions.png"
"""One image under every corruption."""

MANY = 6
"""Values that are counted and not listed."""

PICTURED = ("photo-patches", 0)
"""Of which built-in set, and which of its images."""


def pages() -> Iterator[Page]:
    """The list, then each task in the order in which suites name them."""
    rows = [(f"[{kind}]({kind}.md)", _about(task).splitlines()[0]) for kind, task in KINDS.items()]
    yield Page(
        "tasks/index.md", "Tasks and attacks", f"{_ABOUT}\n\n{table(rows, ['task', 'what happens'])}\n\n{_REST}\n"
    )
    for kind, task in KINDS.items():
        yield Page(f"tasks/{kind}.md", kind, _page(kind, task))
    name, number = PICTURED
    pixels = builtin.make(name).pixels(slice(number, number + 1))[0]
    yield Page(PICTURE, "", gallery(pixels, f"{name}, image {number}, under {len(CORRUPTIONS)} corruptions"))


def _page(kind: str, task: type[Task]) -> str:
    parts = [f"# {kind}", _about(task), "## Constants", _constants(task), "## Cost", _cost(task())]
    if kind == "corruption":
        parts += ["## The corruptions", _corruptions()]
    parts += ["## Who uses it", _users(kind), "## Run it", _run(kind)]
    return "\n\n".join(parts) + "\n"


def _about(task: type[Task]) -> str:
    return documented(task).partition("Attributes:")[0].strip()


def _constants(task: type[Task]) -> str:
    said = attributes(task)
    rows = [
        (f"`{field.name}`", _default(field.default), said.get(field.name, ""))
        for field in fields(task)  # type: ignore[arg-type]
    ]
    if not rows:
        return "It has none."
    return f"A suite sets them under `[tasks.{task.kind}]`, a run by `--set`.\n\n" + table(
        rows, ["constant", "default", "what it is"]
    )


def _default(value: object) -> str:
    """A default, empty where there is none; of many values how many there are."""
    if value is MISSING or value == "":
        return ""
    if isinstance(value, tuple) and len(value) > MANY:
        return f"all {len(value)}"
    return f"`{value}`"


def _cost(task: Task) -> str:
    if isinstance(task, Smoothed):
        return (
            f"{task.draws:,} passes an image with these defaults, one for each noisy copy, which all detectors of a "
            "network share; an attack, where one is asked for, comes on top for each detector and radius."
        )
    passes = task.passes()
    if passes.both:
        text = f"At most {passes} of the network for an image that has a gradient, with these defaults."
        return f"{text} Detectors cannot share them: each is attacked by its own score."
    if task.kind == "corruption":
        return "One pass for each version of an image, which all detectors of a network share."
    return "One pass an image, which all detectors of a network share, or what a bound costs in its place."


def _corruptions() -> str:
    rows = [(f"`{name}`", corruption.description) for name, corruption in CORRUPTIONS.items()]
    listed = table(rows, ["name", "what it does"])
    return f"Each comes in five severities.\n\n{listed}\n\n![One image under every corruption](corruptions.png)"


def _users(kind: str) -> str:
    found = [suite.name for suite in loaded.suites() if any(task.kind == kind for task in suite.tasks.values())]
    if not found:
        return "No built-in suite by itself; `--task` adds it to any."
    return ", ".join(f"[{name}](../suites/{name}.md)" for name in found) + "; `--task` adds it to any other."


def _run(kind: str) -> str:
    command = f"```\noodbench run --suite digits-adv --detector msp --task {kind} --pretrained\n```"
    if kind in ("clean", "corruption"):
        return command
    if kind == "smoothed":
        return f"{command}\n\n[What is certain](../certificates.md) has what was measured with it."
    return f"{command}\n\n[Was it a fair attack?](../guides/attacks.md) says how far its figures are to be believed."


_ABOUT = """
# Tasks and attacks

A task says what happens to images before a detector scores them. An attack changes an image inside a *ball*: in an
L-infinity ball of radius 8, each pixel may change by 8 of 255 levels; in an L2 ball, the root of the sum of all squared
changes is bounded.
""".strip()

_REST = """
`linf-adaptive` is the one to believe where somebody attacks: [was it a fair attack?](../guides/attacks.md) says why,
and what a flag means.
""".strip()
