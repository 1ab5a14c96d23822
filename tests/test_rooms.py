"""Rooms import from rooms below them alone; which stands above which says docs/rooms.md."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "oodbench"
ORDER = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "rooms.md").read_text(), re.MULTILINE)
RESULTS = ("report", "updating", "check", "tables", "")
"""Inside `results`, from above; "" is all else that lies there."""


def imported(text):
    """Line and dotted name of each thing that a file imports from oodbench by its full name, also inside functions."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "oodbench")


def breaking(file, text):
    """What a file below the package imports from above itself, a line each."""
    parts = Path(file).with_suffix("").parts
    found = []
    for line, name in imported(text):
        there = name.split(".")[1:]
        if there[0] == "detectors":
            found.append(f"oodbench/{file}, line {line}: imports a method, {name}")
        elif ORDER.index(there[0]) < ORDER.index(parts[0]):
            found.append(f"oodbench/{file}, line {line}: imports {name}, and {there[0]} stands above {parts[0]}")
        elif parts[0] == there[0] == "results" and RESULTS.index(floor(there)) < RESULTS.index(floor(parts)):
            found.append(f"oodbench/{file}, line {line}: imports {name} from above itself in results")
    return found


def plugin_modules():
    """The modules that docs/rooms.md allows a plugin to import from."""
    text = (ROOT / "docs" / "rooms.md").read_text().split("## What may be imported")[1]
    return set(re.findall(r"`(oodbench\.[\w.]+)`", text.split("Programs that call oodbench")[0]))


def floor(parts):
    return parts[1] if parts[1] in RESULTS else ""


def test_every_room_has_its_place():
    here = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert sorted(ORDER) == sorted(here)


def test_no_room_imports_from_above_itself():
    files = sorted(PACKAGE.rglob("*.py"))
    found = [said for file in files for said in breaking(file.relative_to(PACKAGE), file.read_text())]
    assert len(files) > 150
    assert not found, "\n".join(found)


def test_the_methods_that_come_with_oodbench_import_what_a_plugin_may():
    allowed = tuple(f"{module}." for module in plugin_modules())
    files = sorted((ROOT / "detectors").glob("*.py"))
    used = {name for file in files for _, name in imported(file.read_text())}
    assert "oodbench.detector.Detector" in used
    assert not {name for name in used if not f"{name}.".startswith(allowed)}


def test_what_a_plugin_may_import_is_there():
    for name in plugin_modules():
        importlib.import_module(name)


def test_no_import_inside_the_package_is_relative():
    """Relative imports hide where they lead."""
    for file in PACKAGE.rglob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node in nodes), file


@pytest.mark.parametrize(
    "file, text, said",
    [
        ("images/packs.py", "import os\n\ndef f():\n    from oodbench.cli import main", "line 4: imports oodbench.cli"),
        ("tasks/task.py", "from oodbench import suite", "suite stands above tasks"),
        ("metrics.py", "import oodbench.statistics.intervals", "statistics stands above metrics"),
        ("registry.py", "from oodbench.detectors.msp import MSP", "imports a method"),
        ("results/tables/frame.py", "from oodbench.results.report.model import Board", "from above itself in results"),
        ("results/store.py", "from oodbench.results.tables import tidy", "from above itself in results"),
        ("results/report/rows.py", "from oodbench.results.tables import tidy", None),
        ("cli/verbs.py", "from oodbench.basics import files", None),
    ],
)
def test_an_import_that_breaks_the_order_is_named(file, text, said):
    found = breaking(Path(file), text)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
