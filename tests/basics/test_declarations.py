"""Classes read from source: what is found without importing, and where one has to import."""

import sys

import pytest

from oodbench.basics.declarations import declared_classes

ROOT = "roots.base.Root"
"""A class of a package that these tests write."""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a package `distant` of some modules; none of them can be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules):
        for package in ("roots", "distant"):
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / "roots" / "base.py").write_text("class Root:\n    name = 'root'\n")
        for name, text in modules.items():
            (tmp_path / "distant" / f"{name}.py").write_text(text)

        found = declared_classes("distant", ROOT, "name")
        assert not {"roots.base", "distant", *(f"distant.{name}" for name in modules)} & {*sys.modules}
        return found

    return write


def names(found):
    return {one.name: (one.module, one.class_name) for one in found}


def test_classes_that_descend_from_the_root_are_found(written):
    found = written(
        one="from roots.base import Root\n\nLEVELS = tuple(range(3))\n\nclass One(Root):\n    name = 'one'\n",
        two="from .one import One as A\n\nclass Two(A):\n    name: str = 'two'\n\nclass Three(Two):\n    pass\n",
        far="import distant.two\n\nclass Four(distant.two.Three):\n    name = 'four'\n",
    )
    assert names(found) == {
        "one": ("distant.one", "One"),
        "two": ("distant.two", "Two"),
        "four": ("distant.far", "Four"),
    }
    modules = {one.name: one.modules for one in found}
    assert modules["one"] == {"distant.one"}
    assert modules["four"] == {"distant.one", "distant.two", "distant.far"}


def test_other_classes_with_a_name_are_none(written):
    text = "import enum\nfrom dataclasses import dataclass\n\n@dataclass\nclass Recipe:\n    name: str = 'recipe'\n"
    assert written(one=text) == []
    assert written(one="from roots.base import Root\n\nclass Half(Root):\n    '''Names itself nothing.'''\n") == []


def test_a_constant_may_be_an_object_of_a_plain_class_from_anywhere(written):
    found = written(
        plain="from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Steps:\n    count: int = 1\n",
        few="from .plain import Steps\n\nFEW = Steps(2)\n",
        one="from roots.base import Root\n\nclass One(Root):\n    name = 'one'\n",
    )
    assert names(found) == {"one": ("distant.one", "One")}


def test_a_module_that_is_changed_or_new_is_read_again(written):
    text = "from roots.base import Root\n\nclass One(Root):\n    name = 'one'\n"
    assert names(written(one=text)) == names(written(one=text)) == {"one": ("distant.one", "One")}
    assert names(written(one=text.replace("'one'", "'two'"))) == {"two": ("distant.one", "One")}
    added = written(one=text, more=text.replace("'one'", "'six'"))
    assert names(added) == {"one": ("distant.one", "One"), "six": ("distant.more", "One")}


def test_a_module_alone(written):
    written(one="from roots.base import Root\n\nclass One(Root):\n    name = 'one'\n")
    assert names(declared_classes("distant.one", ROOT, "name")) == {"one": ("distant.one", "One")}


@pytest.mark.parametrize(
    "text",
    [
        "Made = type('Made', (Root,), {'name': 'made'})\n",
        "class Meta(type):\n    pass\n\nMade = Meta('Made', (Root,), {'name': 'made'})\n",
        "@registered\nclass Steps:\n    pass\n\nMade = Steps()\n",
        "from somewhere_else import Steps\n\nMade = Steps()\n",
        "class One(Root):\n    name = 'on' + 'e'\n",
        "class One(base()):\n    name = 'one'\n",
        "class One(Unknown):\n    name = 'one'\n",
        "@registered\nclass One(Root):\n    name = 'one'\n",
        "class One(Root, metaclass=Meta):\n    name = 'one'\n",
        "if SOMETHING:\n    class One(Root):\n        name = 'one'\n",
        "for name in ('a', 'b'):\n    make(name)\n",
        "def broken(:\n",
    ],
)
def test_what_source_does_not_tell_is_not_guessed(written, text):
    assert written(one=f"from roots.base import Root\n\n{text}") is None


def test_what_is_not_there_is_not_told():
    assert declared_classes("nobody_installed_this", ROOT, "name") is None
