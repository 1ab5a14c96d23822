"""Where detectors come from."""

import textwrap

import pytest

from oodbench.basics.errors import OodbenchError
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
