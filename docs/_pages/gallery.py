"""The gallery: scripts of docs/gallery, run cell by cell, with what each cell prints and draws.

A script is Python that runs by itself, divided by lines that begin with "# %%", as Jupytext, VS Code and Spyder divide
it; a cell under "# %% [markdown]" is text. All are run whenever the site is built, so that a page shows what the code
of its day does, and a script that fails ends the build.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs._pages.page import Page

FOLDER = Path(__file__).parents[1] / "gallery"

_CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
_PICTURES = (".svg", ".png")


@dataclass(frozen=True)
class Cell:
    """A piece of a script: its text as Markdown, or its code, padded so that errors name the script's own lines."""

    text: str = ""
    code: str = ""


def pages() -> Iterator[Page]:
    """The list, then each script with its pictures, in the order of names."""
    scripts = sorted(FOLDER.glob("*.py"))
    titles = {script: _title(script) for script in scripts}
    listed = "\n".join(f"* [{title}]({script.stem}.md)" for script, title in titles.items())
    yield Page("gallery/index.md", "Gallery", f"{_ABOUT}\n\n{listed}\n")
    for script, title in titles.items():
        yield from page(script, title)


def cells(script: Path) -> list[Cell]:
    """A script's cells in their order; what stands above the first one is left out.

    Raises:
        ValueError: a line of a text cell is no comment.
    """
    source = script.read_text(encoding="utf-8")
    marks = list(_CELL.finditer(source))
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    found = []
    for mark, end in zip(marks, ends, strict=True):
        inside = source[mark.end() : end]
        if "[markdown]" in mark.group(1):
            found.append(Cell(text=_uncommented(inside, script)))
        else:
            found.append(Cell(code="\n" * source.count("\n", 0, mark.end()) + inside))
    return found


def _uncommented(text: str, script: Path) -> str:
    lines = text.strip().splitlines()
    if any(not line.startswith("#") for line in lines):
        raise ValueError(f"{script.name}: a text cell has a line that is no comment")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def _title(script: Path) -> str:
    return cells(script)[0].text.splitlines()[0].removeprefix("# ")


def page(script: Path, title: str) -> Iterator[Page]:
    """A script's pictures, as they are drawn, then its page."""
    parts = []
    with _empty_folder() as folder:
        names: dict[str, object] = {"__name__": "__main__"}
        for cell in cells(script):
            if cell.text:
                parts.append(cell.text)
                continue
            before = _pictures(folder)
            parts += [f"```python\n{cell.code.strip()}\n```", _fenced(_run(cell.code, script, names))]
            for picture in sorted(_pictures(folder) - before):
                yield Page(f"gallery/{script.stem}/{picture.name}", "", picture.read_bytes())
                parts.append(f"![{picture.stem.replace('-', ' ')}]({script.stem}/{picture.name})")
    parts.append(f"*The whole script is `docs/gallery/{script.name}`; `python docs/gallery/{script.name}` runs it.*")
    yield Page(f"gallery/{script.stem}.md", title.partition(":")[0], "\n\n".join(part for part in parts if part) + "\n")


def _pictures(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.suffix in _PICTURES}


def _run(code: str, script: Path, names: dict[str, object]) -> str:
    """What a cell prints; of its warnings the text."""
    printed = io.StringIO()
    progress = contextlib.redirect_stderr(io.StringIO())
    with contextlib.redirect_stdout(printed), progress, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        exec(compile(code, str(script), "exec"), names)  # our own text
    said = [f"{type(one.message).__name__}: {one.message}" for one in warned]
    return "\n".join([printed.getvalue().rstrip(), *said]).strip("\n")


def _fenced(text: str) -> str:
    return f"```text\n{text}\n```" if text else ""


@contextlib.contextmanager
def _empty_folder() -> Iterator[Path]:
    """Where a script runs: an empty folder that vanishes, without windows, this environment's commands in front."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before.get("PATH", "")])
        os.environ["MPLBACKEND"] = "agg"
        try:
            yield Path(name)
        finally:
            os.environ.clear()
            os.environ.update(before)


_ABOUT = """
# Gallery

Short programs from beginning to end, on handwritten digits that come with scikit-learn: nothing is downloaded, and each
takes seconds on one CPU core. What they print and draw was made when this site was built. Copy one and put your own
network and images in the place of these. In VS Code, Spyder and Jupytext the lines that begin with `# %%` make it a
notebook.
""".strip()
