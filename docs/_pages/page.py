"""A page, and the pieces of Markdown that pages are made of."""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

_PAIR = re.compile(r"(?<=[\d–]) / (?=[\d–])")
_BESIDE = "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}"
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Page:
    """A page of the site, or a picture on one.

    Attributes:
        path: below the site's folder, such as "detectors/msp.md".
        title: in the navigation; empty for what is not listed there.
        content: Markdown, or the bytes of a picture.
    """

    path: str
    title: str
    content: str | bytes


def linked(paper: str) -> str:
    """What stands for a paper, its arXiv number a link."""
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def table(rows: Iterable[Sequence[object]], head: Sequence[str]) -> str:
    """Rows as a table in Markdown; bars do not end cells, two figures stay on a line, columns without a word go."""
    escaped = [[_PAIR.sub(_BESIDE, str(cell)).replace("|", "\\|") for cell in row] for row in rows]
    told = [at for at in range(len(head)) if any(row[at] for row in escaped)]
    escaped, head = [[row[at] for at in told] for row in escaped], [head[at] for at in told]
    return tabulate(escaped, head, "github", disable_numparse=True)


def documented(what: object) -> str:
    """A docstring's text, its names of code as they are; empty where there is none."""
    return inspect.getdoc(what) or ""


def attributes(cls: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each attribute, by name."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        _, _, listed = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \w)", listed.split("\n\n")[0].rstrip()):
            name, colon, text = entry.strip().partition(":")
            if colon:
                found[name] = " ".join(text.split())
    return found
