"""What counts of a file of Python: its code, not its remarks, and not where the harness keeps what it imports."""

import textwrap

from oodbench.basics import sourcetext
from oodbench.detectors.oe import OutlierExposure


def normal(text):
    return sourcetext.read(textwrap.dedent(text).encode()).normal


def test_words_do_not_count_and_code_does():
    plain = normal('''
        def f(x):
            """Says something."""
            y = "a # b"  # a remark
            return x + 1
    ''')
    assert plain == normal('''
        # A file.

        def f(x):
            """
            Says it otherwise.
            """

            y = "a # b"
            # as always
            return x + 1   \n
    ''')
    for changed in (
        'def f(x):\n    y = "a # c"\n    return x + 1',
        'def f(x):\n    y = "a # b"\n    return x - 1',
        'def f(x):\n    y = "a # b"\nreturn x + 1',
        'def f(x):\n    y = """a\n\n# b"""\n    return x + 1',
    ):
        assert normal(changed) != plain
    assert normal('x = """a\n\nb"""') != normal('x = """a\nb"""')
    assert normal('x = """a \nb"""') != normal('x = """a\nb"""')
    assert normal('x = f"""a # {1}\n\nb"""') != normal('x = f"""a # {1}\nb"""')
    assert normal("x = y \\\n\n-z") != normal("x = y \\\n-z")
    assert normal('def f():\n    "a"\n    return f.__doc__') != normal('def f():\n    "b"\n    return f.__doc__')
    assert normal("x = 1; # a") == normal("x = 1;")
    assert normal("x = (1\n") != normal("x = (2\n")  # no Python at all
    assert sourcetext.read(b"\xff\xfe\x00").normal != sourcetext.read(b"\xff\xfe\x01").normal


def lines(*rows):
    return normal("\n".join(rows))


def test_where_a_harness_module_lies_does_not_count():
    passes = "from oodbench.passes import Passes"
    here = lines("import torch", "from oodbench.networks.network import Network, Representation", passes)
    moved = [
        "from oodbench.basics.passes import Passes",
        "from oodbench.net import (\n  Representation,\n  Network,\n)",
    ]
    assert lines("import torch", *moved) == here
    assert lines("import torch", passes) != here
    assert "oodbench" not in OutlierExposure().identity


def test_where_a_harness_module_lies_does_not_count_however_it_is_asked_for():
    for here, there in (
        (
            ["import oodbench.passes", "x = oodbench.passes.Passes(1)"],
            ["import oodbench.basics.passes", "x = oodbench.basics.passes.Passes(1)"],
        ),
        (["import torch, oodbench.a.b as b"], ["import torch, oodbench.b as b"]),
        (["x = 1; from oodbench.a import b"], ["x = 1; from oodbench.a.c import b"]),
        (["x = import_module('oodbench.passes')"], ["x = import_module('oodbench.basics.passes')"]),
        (
            ["import oodbench.a, oodbench.a.b", "ä = [oodbench.a.f, 'ä', oodbench.a.b.g]"],
            ["import oodbench.c.a", "import oodbench.b", "ä = [oodbench.c.a.f, 'ä', oodbench.b.g]"],
        ),
    ):
        assert lines(*here) == lines(*there)
    for text in (
        "import oodbench.detectors.energy",
        "import oodbench",
        "from . import passes",
        "import_module('oodbench.detectors.energy')",
        "x = 'oodbench.passes'",
        "oodbench.passes.Passes",
    ):
        assert lines(text) == text


def test_which_module_of_the_harness_is_meant_counts():
    assert lines("import oodbench.a.b") != lines("import oodbench.a.c")
    assert lines("import oodbench.a.b as x", "x.f") != lines("import oodbench.a.b as x", "x.g")
    assert lines("import_module('oodbench.a.b')") != lines("import_module('oodbench.a.c')")
    assert lines("from oodbench.a import b as c") != lines("from oodbench.a import b")


def test_what_a_file_asks_for_is_known_by_its_whole_name():
    (asked,) = sourcetext.read(b"import oodbench.a.b").imports
    assert (asked.level, asked.name) == (0, "oodbench.a.b")
