"""Where detectors come from."""

import sys
import textwrap

import pytest

import oodbench.detectors
from oodbench import registry as registry_module
from oodbench.basics.errors import OodbenchError
from oodbench.basics.sourcecode import code_digest
from oodbench.detector import Detector
from oodbench.detectors.atom import ATOM
from oodbench.registry import discover

PLUGIN = """
from oodbench.detector import Detector


class {cls}(Detector):
    '''The largest logit.'''

    name = "{name}"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        return representation.logits.max(1).values
"""


@pytest.fixture
def plugin(tmp_path):
    def write(cls="Largest", name="largest", file="plugin.py"):
        path = tmp_path / file
        path.write_text(textwrap.dedent(PLUGIN.format(cls=cls, name=name)))
        return path

    return write


def test_built_ins_come_in():
    assert {"msp", "oe", "ntom", "atom"} <= set(discover().names())
    assert discover()["atom"] is ATOM


def test_every_detector_names_its_paper():
    registry = discover()
    for name in registry.names():
        assert registry[name].paper
        assert registry[name].__doc__


def test_what_source_tells_of_built_ins_is_what_importing_finds():
    registry = discover()
    imported = list(registry_module._detectors_in_package(oodbench.detectors))
    assert registry.built_in() == registry.names() == sorted(detector.name for detector in imported)
    assert all(registry[detector.name] is detector for detector in imported)
    assert all(registry.code(detector.name) == code_digest(detector, root=Detector) for detector in imported)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package of one module with an entry point that names it, or something in it."""

    def install(text, value="theirs"):
        about = tmp_path / "theirs-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[oodbench.detectors]\nmine = {value}\n")
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "__init__.py").write_text("")
        (tmp_path / "theirs" / "methods.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("theirs", "theirs.methods"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    return install


@pytest.mark.parametrize("value", ["theirs", "theirs.methods", "theirs.methods:Largest"])
def test_an_installed_plugin_is_imported_when_it_is_asked_for(installed, value):
    installed(PLUGIN.format(cls="Largest", name="largest"), value)
    registry = discover()
    assert "largest" in registry
    assert "theirs.methods" not in sys.modules
    assert registry["largest"].paper == "nobody, nowhere"
    assert registry.code("largest") == code_digest(registry["largest"], root=Detector)


def test_an_installed_plugin_whose_source_does_not_tell_is_imported(installed):
    text = PLUGIN.format(cls="Largest", name="largest")
    installed(text + "\n\nfor name in ('other', 'another'):\n    class Other(Largest):\n        name = 'other'\n")
    assert {"largest", "other"} <= set(discover().names())
    assert "other" not in discover().built_in()


def test_an_installed_plugin_that_does_not_load_is_named_when_it_is_asked_for(installed):
    installed("import nonexistent_module\n" + PLUGIN.format(cls="Largest", name="largest"))
    registry = discover()
    with pytest.raises(OodbenchError, match=r"installed detector plugin 'mine' \(theirs\) does not load: ModuleNot"):
        registry["largest"]
    assert registry["msp"].name == "msp"


def test_an_installed_plugin_of_a_taken_name_is_refused(installed):
    installed(PLUGIN.format(cls="Mine", name="atom"))
    with pytest.raises(OodbenchError, match=r"two detectors are called 'atom': .*(Mine in .*methods\.py)"):
        discover()


def test_a_plugin_file_stands_beside_them(plugin):
    registry = discover([plugin()])
    assert registry["largest"].paper == "nobody, nowhere"
    assert "atom" in registry.names()
    assert "largest" not in discover().names()


def test_a_detector_without_what_every_one_must_say_is_named(tmp_path):
    path = tmp_path / "half.py"
    path.write_text(PLUGIN.format(cls="Half", name="half").replace("score_representation", "score"))
    with pytest.raises(
        OodbenchError, match=r"detector 'half' \(Half in .*half\.py\) does not define score_representation"
    ):
        discover([path])


def test_unknown_name():
    with pytest.raises(OodbenchError, match="did you mean 'atom'"):
        discover()["atmo"]


def test_a_taken_name_is_refused(plugin):
    with pytest.raises(OodbenchError, match="two detectors are called 'atom'"):
        discover([plugin(name="atom")])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("import nonexistent_module", "does not load: ModuleNotFoundError"),
        ("def broken(:", "does not load: SyntaxError"),
        ("x = 1", "defines no detector"),
    ],
)
def test_a_bad_plugin_is_named(tmp_path, content, told):
    file = tmp_path / "bad.py"
    file.write_text(content)
    with pytest.raises(OodbenchError, match=told) as caught:
        discover([file])
    assert "bad.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_plugin_file(tmp_path):
    with pytest.raises(OodbenchError, match="no plugin file"):
        discover([tmp_path / "none.py"])
