"""The gallery: its scripts run, show what they print and draw, and hold no figure that was written by hand."""

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest

from docs._pages import gallery
from oodbench import cli
from oodbench.tasks import adaptive

SCRIPTS = sorted(gallery.FOLDER.glob("*.py"))
BRIEF = adaptive.Budget(starts=1, score=3, adam=3, blind=10)
"""Of an attack whose numbers are not the point."""


RUN = subprocess.run


def in_this_process(command, **options):
    """What `subprocess.run` does, but for commands of oodbench without another import of torch."""
    if command[0] != "oodbench":
        return RUN(command, **options)
    printed, before = io.StringIO(), sys.argv
    sys.argv = command
    try:
        with contextlib.redirect_stdout(printed):
            cli.main()
    except SystemExit as end:
        assert not end.code, printed.getvalue()
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(command, 0, printed.getvalue(), "")


@pytest.fixture
def briefly(monkeypatch, briefly_continued):
    monkeypatch.setitem(adaptive.LEVELS, "quick", BRIEF)
    monkeypatch.setattr(subprocess, "run", in_this_process)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs_and_its_page_shows_what_came_of_it(script, briefly):
    pytest.importorskip("matplotlib")
    *pictures, page = gallery.page(script, "title")
    assert page.path == f"gallery/{script.stem}.md"
    shown = re.findall(r"!\[[^]]*\]\((\S+)\)", page.content)
    assert [picture.path for picture in pictures] == [f"gallery/{name}" for name in shown]
    assert pictures and all(b"<svg" in picture.content for picture in pictures)
    assert re.search(r"```text\n.*\d+\.\d", page.content, re.DOTALL), "no figure was printed"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_figures_are_printed_and_never_written_into_the_text(script):
    texts = "\n".join(cell.text for cell in gallery.cells(script))
    assert texts.startswith("# ")
    assert re.findall(r"\d\.\d|\d %", texts.replace("95 %", "").replace("50 %", "").replace("100 %", "")) == []


def test_errors_name_the_scripts_own_lines(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text("# %% [markdown]\n# # Wrong\n\n# %%\nprint(1)\nundefined\n")
    with pytest.raises(NameError) as caught:
        list(gallery.page(script, "wrong"))
    assert caught.traceback[-1].lineno + 1 == 6


def test_text_that_is_code_is_refused(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text("# %% [markdown]\n# # Wrong\nprint(1)\n")
    with pytest.raises(ValueError, match=r"wrong\.py"):
        gallery.cells(script)


def test_what_a_script_changes_of_the_environment_is_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "somewhere")
    script = tmp_path / "one.py"
    script.write_text(
        "# %% [markdown]\n# # One\n\n# %%\nimport os\nos.environ['PATH'] = ''\nopen('left.txt', 'w').close()\n"
    )
    list(gallery.page(script, "one"))
    assert [path.name for path in tmp_path.iterdir()] == ["one.py"]
    assert os.environ["PATH"] == "somewhere"
