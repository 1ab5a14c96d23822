"""What is wrong in released code: on the pages of the detectors that it is about, and all together on one page."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docs._pages.page import Page
from oodbench.registry import Registry

LIST = Path(__file__).with_name("defects.toml")


@dataclass(frozen=True)
class Defect:
    """Something that released code does, and that a reader of its figures would not expect.

    Attributes:
        title: in one sentence.
        detectors: names of those that it is about.
        source: where it can be read: repository, commit, file.
        text: what the code does, and what follows for figures.
    """

    title: str
    detectors: tuple[str, ...]
    source: str
    text: str


@cache
def known() -> tuple[Defect, ...]:
    """All that are known, in the order of the list."""
    read = tomllib.loads(LIST.read_text(encoding="utf-8"))["defect"]
    return tuple(
        Defect(one["title"], tuple(one["detectors"]), one["source"], " ".join(one["text"].split())) for one in read
    )


def of(detector: str) -> str:
    """What is known of a detector's reference codes, as Markdown; "" where nothing is."""
    return "\n\n".join(_said(defect) for defect in known() if detector in defect.detectors)


def pages(registry: Registry) -> Iterator[Page]:
    """One page with all of them."""
    parts = ["# Defects of reference code", _ABOUT]
    for defect in known():
        here = [name for name in defect.detectors if name in registry.names()]
        about = ", ".join(f"[{name}](detectors/{name.replace('+', 'p')}.md)" for name in here)
        parts += [f"## {defect.title}", defect.text, f"*Read in {defect.source}.*{f' About {about}.' if about else ''}"]
    yield Page("defects.md", "Defects of reference code", "\n\n".join(parts) + "\n")


def _said(defect: Defect) -> str:
    return f"**{defect.title}.** {defect.text}\n\n*Read in {defect.source}.*"


_ABOUT = """
Published figures are often those of somebody's code, and code has faults. These were found while the detectors of this
project were written. Each was read in the source at the place that is named, and not run, unless it says otherwise.
They are no reproach: all of this code was released, which is what made it possible to read it. If one of them has been
mended, or is no fault, please say so in an issue of this project.
""".strip()
