"""How the paper of a detector is cited: entries of papers.bib, found by what the detector says of its paper."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BIBLIOGRAPHY = Path(__file__).with_name("papers.bib")

_FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Paper:
    """An entry of the bibliography.

    Attributes:
        bibtex: as it stands there.
        fields: what it says, by name.
    """

    bibtex: str
    fields: dict[str, str]

    @property
    def surname(self) -> str:
        """Of the first author, umlauts spelt out."""
        return re.sub(r'\{\\"(\w)\}', r"\1e", self.fields["author"].partition(",")[0])


@cache
def bibliography() -> tuple[Paper, ...]:
    """All entries, in their order."""
    entries = BIBLIOGRAPHY.read_text(encoding="utf-8").strip().split("\n\n")
    return tuple(Paper(entry, dict(_FIELD.findall(entry))) for entry in entries)


def cited(paper: str) -> str:
    """The BibTeX entry of what a detector calls its paper; "" where none is known.

    By its arXiv number, or, where it has none, by first author and year.
    """
    if number := _ARXIV.search(paper):
        found = [entry for entry in bibliography() if entry.fields.get("eprint") == number.group(1)]
    else:
        unnumbered = [entry for entry in bibliography() if "eprint" not in entry.fields]
        found = [one for one in unnumbered if paper.startswith(one.surname) and one.fields["year"] in paper]
    return found[0].bibtex if len(found) == 1 else ""
