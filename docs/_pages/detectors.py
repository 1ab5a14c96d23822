"""A page for each detector of the registry, and one that lists them."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from docs._pages import defects, figures, papers
from docs._pages.page import Page, attributes, documented, linked, table
from oodbench.basics.passes import Passes
from oodbench.cli.work.describing import needs, tuned_on
from oodbench.detector import Detector
from oodbench.registry import Registry

NOTATION = r"""
In formulas $x$ is an image, $z$ the network's logits for its $K$ classes, $p$ their softmax, $f$ the features that
the last layer sees, and $W$, $b$ that layer's weights and bias, so that $z = W f + b$. $\hat y$ is the predicted
class, $s(x)$ the score. A higher score always means *more in-distribution*.
"""

FOLDED = 8
"""Published rows that are shown at once; more of them wait to be opened."""

HOW = """
`{name}` is scored on the built-in images, without a download, by

```
oodbench run --suite digits-adv --detector {name} --pretrained
```
"""


def pages(registry: Registry) -> Iterator[Page]:
    """The list, then each detector in the order of names."""
    yield Page("detectors/index.md", "All detectors", _index(registry))
    for name in registry.names():
        yield Page(address(name), name, page(registry[name]))


def address(name: str) -> str:
    """Of the page of the detector called `name`; in an address a plus sign means a blank."""
    return f"detectors/{name.replace('+', 'p')}.md"


def _index(registry: Registry) -> str:
    rows = []
    for name in registry.names():
        detector = registry[name]
        first = documented(detector).splitlines()[0]
        rows.append((f"[{name}](../{address(name)})", first, needs(detector), linked(detector.paper)))
    listed = table(rows, ["name", "score", "needs", "paper"])
    return f"# Detectors\n\nA detector gives each image a score.\n{NOTATION}\n{listed}\n"


def page(cls: type[Detector]) -> str:
    """A detector's page as Markdown."""
    parts = [f"# {cls.name}", linked(cls.paper), documented(cls).replace("Parameters:", "")]
    parts += ["## What it needs", f"It needs {needs(cls)}. It is tuned on {tuned_on(cls)}.", _cost(cls)]
    parts += ["## Parameters", _parameters(cls)]
    parts += ["## Measured", _measured(cls.name), _how(cls)]
    if published := figures.published_table(cls.name):
        parts += ["## Published by others", "Percent, with the conventions of who printed them.", _folded(published)]
    if wrong := defects.of(cls.name):
        parts += ["## Defects of reference code", wrong]
    parts += ["## Cite", _cite(cls)]
    parts += ["## Code", f"`{_source(cls)}`, registered as `{cls.name}`. [What the letters mean](index.md)."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cite(cls: type[Detector]) -> str:
    if bibtex := papers.cited(cls.paper):
        return f"```bibtex\n{bibtex}\n```"
    return f"{linked(cls.paper)}."


def cost(cls: type[Detector]) -> str:
    """What scoring one image takes, the pass that all detectors of a network share included."""
    passes = Passes(forward=1) + cls().own_passes()
    if passes.backward:
        return str(passes)
    return "1 forward pass" if passes.forward == 1 else f"{passes.forward} forward passes"


def _cost(cls: type[Detector]) -> str:
    if not cls().own_passes().both:
        return "Scoring an image takes the one pass through the network that all detectors share."
    return f"Scoring an image takes about {cost(cls)} through the network, one of which all detectors share."


def _parameters(cls: type[Detector]) -> str:
    parameters = cls().parameters
    if not is_dataclass(parameters) or not fields(parameters):
        return "None."
    said = attributes(type(parameters))
    rows = [
        (f"`{cls.name}.{field.name}`", f"`{getattr(parameters, field.name)}`", said.get(field.name, ""))
        for field in fields(parameters)
    ]
    return "Each is set by `--set NAME=VALUE`, or in a suite.\n\n" + table(rows, ["name", "default", "what it is"])


def _measured(name: str) -> str:
    found = {suite: figures.measured_table(suite, name) for suite in figures.measured_suites()}
    shown = [f"On [{suite}](../suites/{suite}.md):\n\n{rows}" for suite, rows in found.items() if rows]
    if not shown:
        return "Nothing yet that is kept as a reference."
    return "Percent, means over the suite's OOD sets, measured by this project.\n\n" + "\n\n".join(shown)


def _how(cls: type[Detector]) -> str:
    """The command that scores it, or why the built-in networks will not do."""
    if cls.only_by_name:
        return (
            "The built-in networks lack what it looks at; [your model](../guides/your-model.md#a-network-like-clip) "
            "says how a network that has it is named."
        )
    return HOW.format(name=cls.name).strip()


def _folded(rows: str) -> str:
    """A long table, to be opened; a short one as it is."""
    count = rows.count("\n") - 1
    if count <= FOLDED:
        return rows
    return f'??? note "{count} rows"\n\n' + "\n".join(f"    {line}" for line in rows.splitlines())


def _source(cls: type[Detector]) -> str:
    return cls.__module__.removeprefix("oodbench.").replace(".", "/") + ".py"
