"""A page for each image set: where it comes from, on what terms, and pictures of those that may be shown."""

from collections.abc import Iterator
from urllib.parse import urlparse

import numpy as np

from docs._pages import loaded
from docs._pages.page import Page, table
from oodbench.images import builtin
from oodbench.images.sheet import Picture, sheet
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.source import Source

SHOWN = 20


def pages() -> Iterator[Page]:
    """The list, then each set with its picture."""
    drawn = [(link(name, "."), _sentence(known.description)) for name, known in builtin.BUILTINS.items()]
    public = [(link(name, "."), source.title, count(source), source.terms) for name, source in sorted(SOURCES.items())]
    parts = ["# Image sets", _ABOUT, "## Drawn by oodbench itself", table(drawn, ["name", "what"])]
    parts += ["## Public sets", table(public, ["name", "what", "images", "terms"])]
    yield Page("images/index.md", "Image sets", "\n\n".join(parts) + "\n")
    for name in builtin.BUILTINS:
        yield Page(f"images/{name}.png", "", _sheet(name))
        yield Page(f"images/{name}.md", name, _builtin(name))
    for name, source in sorted(SOURCES.items()):
        yield Page(f"images/{name}.md", name, _public(name, source))


def link(name: str, folder: str) -> str:
    """A set's name, leading to its page if it has one; `folder` is where image sets lie, seen from the page."""
    return f"[`{name}`]({folder}/{name}.md)" if name in builtin.BUILTINS or name in SOURCES else f"`{name}`"


def row(name: str) -> tuple[str, str, str]:
    """What a set is, on what terms, and what to know of it; for a pack of one's own that it is one."""
    if name in SOURCES:
        return SOURCES[name].title, SOURCES[name].terms, SOURCES[name].note
    if name in builtin.BUILTINS:
        return _sentence(builtin.BUILTINS[name].description), builtin.make(name).source, ""
    return "a pack of one's own, see the comments of the file", "", ""


def count(source: Source) -> str:
    """How many images there are."""
    return "as many as are found" if source.count is None else f"{source.count:,}"


def _builtin(name: str) -> str:
    made = builtin.make(name)
    parts = [
        f"# {name}",
        f"{_sentence(builtin.BUILTINS[name].description)}.",
        f"![{SHOWN} images of {name}]({name}.png)",
    ]
    rows = [
        ("images", f"{len(made):,}"),
        ("source", made.source),
        ("to download", "nothing"),
        ("suites", _users(name)),
    ]
    return "\n\n".join([*parts, table(rows, ["", ""])]) + "\n"


def _public(name: str, source: Source) -> str:
    rows = [("images", count(source)), ("terms", source.terms)]
    hosts = sorted({urlparse(file.urls[0]).netloc for file in source.files if file.urls})
    size = "size not known" if source.size is None else f"about {source.size / 1e6:,.0f} MB"
    rows += [
        (
            "to download",
            f"{size}, from {', '.join(hosts)}" if hosts else "by hand: it takes a login, or nobody offers it",
        )
    ]
    rows += [
        (
            "checked by",
            "published digests" if source.proven else "size and contents: no digest of every file is published",
        )
    ]
    rows += [("suites", _users(name))]
    parts = [f"# {name}", f"{source.title}.", table(rows, ["", ""])]
    parts += ["## What to know before believing a number on it", source.note] if source.note else []
    parts += ["## Get it", f"```\noodbench data fetch {name}\n```" if hosts else _BY_HAND.format(name=name)]
    return "\n\n".join(parts) + "\n"


def _users(name: str) -> str:
    found = []
    for suite in loaded.suites():
        roles = {"ID": (suite.id.test, suite.id.train), "OOD": tuple(ood.set for ood in suite.ood)}
        roles["outliers"] = (suite.outliers.set,) if suite.outliers else ()
        said = [role for role, sets in roles.items() if name in sets]
        found += [f"[{suite.name}](../suites/{suite.name}.md) ({', '.join(said)})"] if said else []
    return ", ".join(found) or "none that comes with oodbench"


def _sheet(name: str) -> bytes:
    made = builtin.make(name)
    rows = np.linspace(0, len(made) - 1, SHOWN).round().astype(np.int64)
    return sheet([Picture(one, "") for one in made.pixels(rows)], 10)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


_ABOUT = """
A suite names image sets. Those of `digits` are drawn or come with scikit-learn, so that they need no download; public
ones are fetched by `oodbench data fetch NAME` with their digests checked, or packed from your own copy by `oodbench
data pack`. Pictures are shown of the former only: the terms of most public sets do not allow it.
""".strip()

_BY_HAND = """
```
oodbench data show {name}
```

says which files it takes and where a person has them from; `oodbench data fetch {name}` then checks them and makes the
pack.
""".strip()
