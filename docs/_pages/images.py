"""The page of image sets: where each comes from, and pictures of those that may be shown."""

from collections.abc import Iterator

import numpy as np

from docs._pages.page import Page, table
from oodbench.images import builtin
from oodbench.images.sheet import Picture, sheet
from oodbench.sources.catalogue import SOURCES

SHOWN = 20


def pages() -> Iterator[Page]:
    """One page with all of them, and its pictures."""
    parts = ["# Image sets", _ABOUT, "## Drawn by oodbench itself"]
    for name, known in builtin.BUILTINS.items():
        about = f"{known.description[0].upper()}{known.description[1:]}."
        parts += [f"### {name}", about, f"![{SHOWN} images of {name}](assets/sets/{name}.png)"]
        yield Page(f"assets/sets/{name}.png", "", _sheet(name))
    rows = [(f"`{name}`", source.title, _count(source.count), source.terms) for name, source in sorted(SOURCES.items())]
    parts += ["## Public sets", _PUBLIC, table(rows, ["name", "what", "images", "terms"])]
    yield Page("images.md", "Image sets", "\n\n".join(parts) + "\n")


def _sheet(name: str) -> bytes:
    made = builtin.make(name)
    rows = np.linspace(0, len(made) - 1, SHOWN).round().astype(np.int64)
    return sheet([Picture(one, "") for one in made.pixels(rows)], 10)


def _count(images: int | None) -> str:
    return "as many as are found" if images is None else f"{images:,}"


_ABOUT = """
A suite names image sets. Those of `digits` are drawn or come with scikit-learn, so that they need no download; public
ones are fetched by `oodbench data fetch NAME` with their digests checked, or packed from your own copy by `oodbench
data pack`.
""".strip()

_PUBLIC = "`oodbench data show NAME` says more of each: how large the download is, and from where."
