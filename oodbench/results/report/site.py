"""A folder of pages: one for each suite, and an index that says what each of them comes to.

The pages load nothing, so any place that serves files can serve them. A page of the folder carries the digest of its
own bytes, by which a later call knows what it wrote: anything else that lies there stays as it is.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.results.report.model import Board
from oodbench.results.report.page import render, script_free_policy
from oodbench.version import __version__

INDEX = "index.html"

LONGEST = 80
"""Letters of a file's name, less its ending."""

RESERVED = re.compile(r"(index|con|prn|aux|nul|com\d|lpt\d)", re.ASCII)
"""Names that a page may not have: that of the index, and of devices of Windows."""

_SEAL = '<meta name="oodbench-site" content="{}">\n'
_SEALED = re.compile(rb'<meta name="oodbench-site" content="([0-9a-f]{64})">\n')
_BEGINS = b'<!doctype html>\n<html lang="en">\n<head>\n'


@dataclass(frozen=True)
class Site:
    """Pages by the names of their files, the index last."""

    pages: Mapping[str, bytes]


def site_of(boards: Sequence[Board]) -> Site:
    """A page for each suite on `boards`, and the index."""
    by_suite: dict[str, list[Board]] = {}
    for board in boards:
        by_suite.setdefault(board.suite, []).append(board)
    names = file_names(list(by_suite))
    pages = {names[suite]: _seal_page(render(suite_boards, INDEX)) for suite, suite_boards in by_suite.items()}
    return Site(
        pages | {INDEX: _seal_page(_index({names[suite]: suite_boards for suite, suite_boards in by_suite.items()}))}
    )


def write_site(site: Site, folder: Path) -> list[Path]:
    """Put a site into `folder`, which is made if need be; all of it or, where something is in the way, nothing.

    Returns:
        Pages of an earlier site in the folder that this one does not have, and which stay.

    Raises:
        OodbenchError: a file of that name is there which no site wrote, or which somebody changed since.
    """
    if occupied := [name for name in site.pages if _is_foreign(folder / name)]:
        raise OodbenchError(
            f"{', '.join(str(folder / name) for name in occupied)}: not written by `oodbench report --site`, or "
            "changed since, and so left as it is; nothing was written. Choose another folder"
        )
    for name, page in site.pages.items():
        write_atomic(folder / name, page)
    earlier = (path for path in folder.glob("*.html") if path.name not in site.pages)
    return sorted(path for path in earlier if not _is_foreign(path))


def file_names(suites: Sequence[str]) -> dict[str, str]:
    """The file name of each suite's page: letters, digits, ".", "_" and "-", and no two alike on any disk."""
    file_name_of: dict[str, str] = {}
    for suite in sorted(suites):
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", suite).strip(".-_")[:LONGEST].rstrip(".-_") or "suite"
        if RESERVED.fullmatch(stem.partition(".")[0].lower()):
            stem = f"suite-{stem}"
        used_names = {name.lower() for name in file_name_of.values()}
        number, name = 1, f"{stem}.html"
        while name.lower() in used_names:
            number += 1
            name = f"{stem}-{number}.html"
        file_name_of[suite] = name
    return file_name_of


def _seal_page(page: bytes) -> bytes:
    """A page that holds the digest of itself without it."""
    if not page.startswith(_BEGINS):
        raise ValueError("a page of a site begins as the templates do")
    seal = _SEAL.format(hashlib.sha256(page).hexdigest()).encode()
    return _BEGINS + seal + page[len(_BEGINS) :]


def _is_foreign(path: Path) -> bool:
    """True if there is something of this name that no site wrote, or that was changed since."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        return True
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    seal = _SEALED.match(content, len(_BEGINS)) if content.startswith(_BEGINS) else None
    if not seal:
        return True
    return hashlib.sha256(_BEGINS + content[seal.end() :]).hexdigest().encode() != seal[1]


def _index(suites: Mapping[str, Sequence[Board]]) -> bytes:
    ours = files("oodbench.results.report")
    page = Template((ours / "site.html").read_text("utf-8")).substitute(
        policy=script_free_policy(),
        style=(ours / "page.css").read_text("utf-8"),
        suites="\n".join(_suite_section(name, boards) for name, boards in suites.items()),
        version=escape(__version__),
    )
    return page.encode()


def _suite_section(name: str, boards: Sequence[Board]) -> str:
    """The index's section on one suite, a part for each of its boards."""
    parts = [f'<h2><a href="{escape(name)}">{escape(boards[0].suite)}</a></h2>']
    for number, board in enumerate(boards):
        link = f"{name}#results={number + 1}"
        view, sentences = next(
            ((name, sentences_of_view) for name, sentences_of_view in board.verdicts.items() if sentences_of_view),
            ("", ()),
        )
        parts += [
            "<section>",
            f'<h3><a href="{escape(link)}">{escape(board.extent)}</a></h3>',
            f'<p class="note">{_escape_text(board.summary)}</p>',
            '<div class="verdict">',
            *(
                f"<p{' class=headline' * (place == 0)}>{_escape_text(sentence.text)}</p>"
                + (f'<p class="note">{_escape_text(sentence.aside)}</p>' if sentence.aside else "")
                for place, sentence in enumerate(sentences)
            ),
            "</div>",
            f'<p class="note">AUROC: mean over {escape(view)}.</p>' if view else "",
            "</section>",
        ]
    return "\n".join(parts)


def _escape_text(text: str) -> str:
    """Text for the page, in which a number and its % stay on one line."""
    return escape(text).replace(" %", "&nbsp;%")
