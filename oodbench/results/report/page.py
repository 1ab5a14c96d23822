"""Plain data to one HTML page that needs nothing beside itself."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from oodbench.results.report.model import Board
from oodbench.version import __version__

LIBRARIES = {"d3.min.js": "d3.LICENSE", "plot.umd.min.js": "plot.LICENSE"}
"""Vendored files in the order in which they are loaded, each with its licence."""

SCRIPTS = (
    "dom.js",
    "state.js",
    "charts.js",
    "board.js",
    "flags.js",
    "against.js",
    "cells.js",
    "operating.js",
    "page.js",
)
"""Ours, in the order in which they are loaded."""


def render(boards: Sequence[Board], home: str = "") -> bytes:
    """The page, UTF-8.

    Args:
        boards: what it shows.
        home: a file beside it to which it leads back; none if empty.
    """
    ours = files("oodbench.results.report")
    scripts = [
        f"/*\n{(ours / 'vendor' / licence).read_text('utf-8')}*/\n{(ours / 'vendor' / name).read_text('utf-8')}"
        for name, licence in LIBRARIES.items()
    ]
    scripts += [(ours / name).read_text("utf-8") for name in SCRIPTS]
    page = Template((ours / "page.html").read_text("utf-8")).substitute(
        policy=_content_policy(scripts),
        style=(ours / "page.css").read_text("utf-8"),
        title=escape(f"{', '.join(dict.fromkeys(board.suite for board in boards))}: oodbench report"),
        brand=f'<a href="{escape(home)}">All suites</a>' if home else "oodbench report",
        data=embedded_json({"oodbench": __version__, "boards": [asdict(board) for board in boards]}),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )
    return page.encode()


def embedded_json(data: Any) -> str:
    """JSON that can stand inside a script element: no name in it, however hostile, ends the element."""
    text = json.dumps(_rounded(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside JSON these characters stand in strings only.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


IN_FULL = ("threshold", "histogram")
"""Fields whose numbers keep all digits: thresholds are copied, and scores may differ in their last digits alone."""


def _rounded(data: Any, in_full: bool = False) -> Any:
    """The same with six digits a number, all of them in what `IN_FULL` names, and null for NaN."""
    if isinstance(data, float):
        return (data if in_full else float(f"{data:.6g}")) if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {name: _rounded(value, in_full or name in IN_FULL) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value, in_full) for value in data]
    return data


def _content_policy(scripts: Sequence[str]) -> str:
    """The page's content security policy: these very scripts, styles and images that are in it, nothing else."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; {_STYLES_AND_IMAGES}"


def script_free_policy() -> str:
    """The same for a page without scripts."""
    return f"default-src 'none'; {_STYLES_AND_IMAGES}"


_STYLES_AND_IMAGES = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
