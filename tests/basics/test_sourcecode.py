"""What code a result is of: whatever a method's module imports beside it, wherever that lies, and nothing else."""

import itertools
import re
import sys
import textwrap
from importlib.metadata import packages_distributions
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from plugintext import method

from oodbench.basics import sourcecode, sourcetext
from oodbench.basics.sourcecode import code_digest
from oodbench.detector import Detector
from oodbench.detectors.ash import ASH
from oodbench.detectors.atom import ATOM
from oodbench.detectors.msp import MSP
from oodbench.detectors.ntom import NTOM
from oodbench.detectors.oe import OutlierExposure
from oodbench.detectors.react import ReAct
from oodbench.detectors.rmds import RMDS
from oodbench.networks import build
from oodbench.networks.network import Network
from oodbench.objective import Objective
from oodbench.registry import discover

HELPER = "def combine(logits):\n    return {sign}logits.max(1).values\n"


@pytest.fixture
def plugin(tmp_path):
    """Writes files and gives the detector in the first of them, with its digest."""

    def load(files, folder="plugins"):
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        mine = discover([tmp_path / folder / next(iter(files))])["mine"]
        return mine, code_digest(mine, root=Detector)

    return load


def combining(imports, body="return combine(representation.logits)"):
    return method(body, imports=imports)


LAYOUTS = {
    "import helper": {
        "plug.py": combining("import helper", "return helper.combine(representation.logits)"),
        "helper.py": "",
    },
    "from helper import": {"plug.py": combining("from helper import combine"), "helper.py": ""},
    "from helper import *": {"plug.py": combining("from helper import *"), "helper.py": ""},
    "relative": {"plug.py": combining("from .helper import combine"), "helper.py": ""},
    "inside a function": {
        "plug.py": combining("", "import helper\n        return helper.combine(representation.logits)"),
        "helper.py": "",
    },
    "a dotted name": {
        "plug.py": combining("import lib.deep.helper", "return lib.deep.helper.combine(representation.logits)"),
        "lib/__init__.py": "",
        "lib/deep/__init__.py": "",
        "lib/deep/helper.py": None,
    },
    "a package": {
        "plug.py": combining("from lib import combine"),
        "lib/__init__.py": "from .deep.helper import combine",
        "lib/deep/__init__.py": "",
        "lib/deep/helper.py": None,
    },
    "a folder that is no package": {"plug.py": combining("from lib.helper import combine"), "lib/helper.py": None},
    "a module of a package": {
        "plug.py": combining("from lib import helper\ncombine = helper.combine"),
        "lib/helper.py": None,
    },
    "two steps": {
        "plug.py": combining("from between import combine"),
        "between.py": "from helper import combine",
        "helper.py": None,
    },
    "in a circle": {
        "plug.py": combining("from between import combine"),
        "between.py": "import helper\ndef combine(logits): return helper.combine(logits)",
        "helper.py": None,
    },
    "import_module": {
        "plug.py": combining("import importlib\ncombine = importlib.import_module('.helper', __package__).combine"),
        "helper.py": None,
    },
    "a computed name": {
        "plug.py": combining(
            "import importlib\ncombine = importlib.import_module('.help' + 'er', __package__).combine"
        ),
        "helper.py": None,
    },
    "inside a package": {
        "own/plug.py": combining("from own.helper import combine\nfrom . import __name__ as _"),
        "own/__init__.py": "",
        "own/helper.py": None,
    },
    "a base class": {
        "plug.py": combining("from helper import combine\nfrom base import Base").replace(
            "Mine(Detector)", "Mine(Base)"
        ),
        "base.py": "from oodbench.detector import Detector\nclass Base(Detector): pass",
        "helper.py": None,
    },
    "a name with dots": {"my.plug-in.py": combining("from helper import combine"), "helper.py": None},
}


def filled(files, sign=""):
    helper = next(name for name in files if name.endswith("helper.py"))
    extra = "\nimport between\n" if "between.py" in files and "import helper\ndef" in files["between.py"] else ""
    return {**files, helper: HELPER.format(sign=sign) + extra}


class Logits:
    def __init__(self, logits):
        self.logits = logits


def said(mine):
    """What the method makes of one row of logits."""
    import torch

    return float(mine.__new__(mine).score_representation(Logits(torch.tensor([[1.0, 3.0]])))[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_plugin_imports_beside_it_counts_and_a_change_runs(plugin, layout):
    mine, before = plugin(filled(LAYOUTS[layout]))
    assert said(mine) == 3
    again, same = plugin(filled(LAYOUTS[layout]))
    assert again is mine
    assert same == before
    changed, after = plugin(filled(LAYOUTS[layout], sign="-"))
    assert said(changed) == -3
    assert after != before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_the_folder_lies_does_not_count(plugin, layout):
    assert plugin(filled(LAYOUTS[layout]), "here")[1] == plugin(filled(LAYOUTS[layout]), "there/below")[1]


def test_each_plugin_has_its_own_neighbours(plugin, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "third")
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "helper.py").write_text("def combine(logits):\n    return 100 * logits.max(1).values\n")
    import helper

    lazily = LAYOUTS["inside a function"]
    one, first = plugin(filled(lazily), "one")
    two, second = plugin(filled(lazily, sign="-"), "two")
    assert (said(one), said(two)) == (3, -3)
    assert first != second
    assert sys.modules["helper"] is helper


def test_other_files_there_do_not_count(plugin, tmp_path):
    _, before = plugin(filled(LAYOUTS["relative"]))
    (tmp_path / "plugins" / "another.py").write_text("x = 1")
    (tmp_path / "plugins" / "torch_notes.txt").write_text("x = 1")
    assert plugin(filled(LAYOUTS["relative"]))[1] == before


def test_a_neighbour_never_stands_in_for_python_or_oodbench(plugin):
    files = filled(LAYOUTS["relative"])
    mine, _ = plugin({**files, "random.py": "raise RuntimeError", "oodbench.py": "raise RuntimeError"})
    assert issubclass(mine, Detector)


def test_a_broken_neighbour_is_told_and_mended(plugin):
    from oodbench.basics.errors import OodbenchError

    files = filled(LAYOUTS["from helper import"])
    with pytest.raises(OodbenchError, match=r"plug\.py does not load: SyntaxError"):
        plugin({**files, "helper.py": "def combine(:"})
    assert said(plugin(files)[0]) == 3


def respelled(text, places):
    """`text` with each import from the harness made from another place there."""
    lines = []
    for line in text.splitlines():
        match = re.fullmatch(r"( *)from oodbench\.(?!detectors)[a-z_.]+ import (.*)", line)
        lines.append(f"{match[1]}from {next(places)} import {match[2]}" if match else line)
    assert lines != text.splitlines() or "from oodbench." not in text
    return "\n".join(lines)


@pytest.mark.parametrize("file", sorted(Path(sys.modules[MSP.__module__].__file__).parent.glob("[a-z]*.py")), ids=str)
def test_a_built_in_has_its_digest_wherever_the_harness_keeps_what_it_imports(file):
    places = (f"oodbench.room{number}.deep.module" for number in itertools.count())
    moved = respelled(file.read_text(), places)
    assert sourcetext.read(moved.encode()).normal == sourcetext.read(file.read_bytes()).normal


HOWEVER = {
    "from": ("from oodbench.basics.files import digest", "digest(b'')"),
    "from, renamed": ("from oodbench.basics.files import digest as made", "made(b'')"),
    "a module from": ("from oodbench.basics import files", "files.digest(b'')"),
    "dotted": ("import oodbench.basics.files", "oodbench.basics.files.digest(b'')"),
    "dotted, renamed": ("import oodbench.basics.files as kept", "kept.digest(b'')"),
    "one line": ("import torch, oodbench.basics.files; y = 2", "oodbench.basics.files.digest(b'')"),
    "by a call": ("import importlib\nfiles = importlib.import_module('oodbench.basics.files')", "files.digest(b'')"),
}


@pytest.mark.parametrize("how", HOWEVER)
def test_a_method_has_its_digest_wherever_the_harness_keeps_a_module_that_it_imports(
    plugin, tmp_path, monkeypatch, how
):
    """The same module of the harness is made to lie in a package of it, and the method is spelled for that."""
    import oodbench
    from oodbench.basics import files

    room = ModuleType("oodbench.lower")
    room.__path__ = []
    room.files = files
    for name, module in (("oodbench.lower", room), ("oodbench.lower.files", files)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(oodbench, "lower", room, raising=False)
    imports, use = HOWEVER[how]
    body = f"return len({use}) * combine(representation.logits)"

    def files_of(imports, body, sign):
        text = combining(f"from helper import combine\n{imports}", body)
        return {"plug.py": text, "helper.py": HELPER.format(sign=sign)}

    def moved(text):
        return text.replace("oodbench.basics", room.__name__)

    mine, before = plugin(files_of(imports, body, ""))
    there, after = plugin(files_of(moved(imports), moved(body), ""))
    assert there is not mine
    assert said(mine) == said(there) == 64 * 3
    assert after == before
    assert plugin(files_of(moved(imports), moved(body), "-"))[1] != before
    assert plugin(files_of(moved(imports), f"{moved(body)} * 2", ""))[1] != before


BEHIND = {
    ASH: {"ash", "energy", "negativity"},
    ReAct: {"react", "energy", "negativity"},
    RMDS: {"rmds", "mahalanobis", "odin", "msp"},
    NTOM: {"ntom", "atom"},
    MSP: {"msp"},
    OutlierExposure: {"oe", "msp"},
}


@pytest.mark.parametrize("method", BEHIND)
def test_built_ins_count_with_what_they_import_from_each_other(method):
    found = {
        label.removeprefix("oodbench.detectors:")
        for label, _ in sourcecode._closure(method.__module__, method.__qualname__)
    }
    assert found == BEHIND[method]


def test_a_plugin_that_builds_on_a_built_in_counts_with_it(plugin):
    mine, _ = plugin(
        {"plug.py": combining("", "from oodbench.detectors.energy import energy\n        return energy(0)")}
    )
    assert {label for label, _ in sourcecode._closure(mine.__module__, mine.__qualname__)} == {
        ":plug",
        "oodbench.detectors:energy",
    }


def test_digests_tell_methods_apart_and_are_stable():
    assert code_digest(ATOM, root=Detector) == code_digest(ATOM, root=Detector)
    assert len({code_digest(each, root=Detector) for each in (ATOM, NTOM, MSP, ASH)}) == 4
    assert code_digest(Objective, root=Objective) == code_digest(root=Objective)


def test_architectures_count_by_their_file():
    one, two = (type(build(name, 2)) for name in ("small-cnn", "wideresnet-40-2"))
    (label, content) = next(iter(sourcecode._closure(one.__module__, one.__qualname__)))
    assert label == "SmallCNN"
    assert b"class SmallCNN" in content
    assert code_digest(one, root=Network) != code_digest(two, root=Network)


def test_an_edit_of_code_that_is_loaded_is_not_what_runs(tmp_path, monkeypatch):
    (tmp_path / "kept_package").mkdir()
    file = tmp_path / "kept_package" / "own.py"
    (tmp_path / "kept_package" / "__init__.py").write_text("")
    file.write_text("from oodbench.detector import Detector\nclass Own(Detector):\n    x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from kept_package.own import Own

    sourcecode.remember("kept_package")
    file.write_text(file.read_text() + "    y = 2\n")
    assert dict(sourcecode._closure(Own.__module__, Own.__qualname__))[":kept_package.own"].count(b"y = 2") == 0


def test_a_package_side_by_side_with_others_counts_alone(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    for name in ("alone_a", "alone_b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "alone_a" / "own.py").write_text(
        "import alone_b\nfrom . import other\nfrom oodbench.detector import Detector\nclass Own(Detector): pass\n"
    )
    (folder / "alone_a" / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(folder)
    from alone_a.own import Own

    assert {label for label, _ in sourcecode._closure(Own.__module__, Own.__qualname__)} == {
        ":alone_a.own",
        ":alone_a.other",
        ":alone_a",
    }


def test_code_of_no_file_is_refused():
    from oodbench.basics.errors import OodbenchError

    namespace = {"Detector": Detector, "__name__": "nowhere_at_all"}
    exec("class Own(Detector): pass", namespace)
    with pytest.raises(OodbenchError, match="put it into a file"):
        code_digest(namespace["Own"], root=Detector)


def test_the_file_named_is_the_one_loaded_and_links_are_followed(plugin, tmp_path):
    files = filled(LAYOUTS["from helper import"])
    mine, digest = plugin({**files, "plug/__init__.py": "raise RuntimeError"})
    assert said(mine) == 3
    link = tmp_path / "elsewhere" / "plug.py"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "plugins" / "plug.py")
    linked = discover([link])["mine"]
    assert said(linked) == 3
    assert code_digest(linked, root=Detector) == digest
    assert Path(sys.modules[linked.__module__].__file__) == (tmp_path / "plugins" / "plug.py").resolve()


def test_files_on_the_path_that_no_distribution_owns_count_and_libraries_do_not(plugin, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "scripts")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    for name, text in {
        "scripts/loose_tools/__init__.py": "",
        "scripts/loose_tools/maths.py": "import loose_single\nimport library_of_others",
        "scripts/loose_single.py": "",
        "site-packages/library_of_others.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    mine, _ = plugin(
        {"plug.py": combining("import numpy, sklearn.svm\nfrom loose_tools.maths import loose_single", "return 0")}
    )
    found = {label for label, _ in sourcecode._closure(mine.__module__, mine.__qualname__)}
    assert found == {":plug", ":loose_tools", ":loose_tools.maths", ":loose_single"}


@pytest.mark.parametrize("loaded_by", ["a line in a .pth file", "a finder of its own"])
def test_a_package_that_is_installed_to_be_edited_counts(plugin, tmp_path, monkeypatch, loaded_by):
    """As setuptools does it with `pip install -e`: a distribution calls the package its own, which lies elsewhere."""
    editable = tmp_path / "src" / "edited_lab"
    editable.mkdir(parents=True)
    (editable / "__init__.py").write_text("")
    about = tmp_path / "site-packages" / "edited_lab-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: edited-lab\nVersion: 1.0\n")
    (about / "top_level.txt").write_text("edited_lab\n")
    monkeypatch.syspath_prepend(about.parent)
    assert "edited_lab" in packages_distributions()

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            is_ours = name == "edited_lab"
            return spec_from_file_location(name, editable / "__init__.py") if is_ours else None

    if loaded_by == "a finder of its own":
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    else:
        monkeypatch.syspath_prepend(editable.parent)
    digests = []
    for number, answer in enumerate(("0", "1")):
        (editable / "scores.py").write_text(f"answer = {answer}\n")
        files = {"plug.py": combining("from edited_lab.scores import answer", "return answer")}
        mine, digest = plugin(files, folder=f"plugins {number}")
        found = {label for label, _ in sourcecode._closure(mine.__module__, mine.__qualname__)}
        assert {":edited_lab", ":edited_lab.scores"} < found
        digests.append(digest)
        for name in [name for name in sys.modules if name.startswith("edited_lab")]:
            del sys.modules[name]
    assert digests[0] != digests[1]
