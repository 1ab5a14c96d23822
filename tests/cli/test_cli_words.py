"""What the command line says of itself: lists, help, and examples that run as they stand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack

pytestmark = pytest.mark.usefixtures("briefly_continued")

ROOT = Path(__file__).parents[2]
PLUGIN = """
from oodbench.detector import Detector


class Largest(Detector):
    '''The largest logit.'''

    name = "largest"
    paper = "none"

    def score_representation(self, representation):
        return representation.logits.amax(1)
"""


def test_lists(oodbench, tmp_path):
    write_pack(
        tmp_path / "data" / "textures.h5",
        ImageSet("textures", np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int64), "x"),
    )
    detectors = oodbench("list", "detectors")[1]
    for part in (
        "arXiv:2006.15207",
        "needs a training of its own with outliers; tuned on held-out ID images and reserved outliers, q by",
        "needs a plainly trained network, a fit on labelled ID training images; tuned on held-out labelled ID images\n",
        "parameters: magnitude=None, temperature=1000.0, tuning=heldout",
    ):
        assert part in detectors
    (tmp_path / "plugin.py").write_text(PLUGIN)
    assert "largest" in oodbench("list", "detectors", "--plugin", "plugin.py")[1]
    assert "digits-adv" in oodbench("list", "suites")[1]
    assert "densenet-bc-100-12" in oodbench("list", "networks")[1]
    assert "types, severities, frost" in oodbench("list", "tasks")[1]
    assert len(oodbench("list", "corruptions")[1].splitlines()) == 19
    images = oodbench("list", "images")[1]
    assert "digits-test" in images
    assert "textures" in images


def test_table_of_nothing_says_what_to_type(oodbench):
    code, _, err = oodbench("table", "nowhere")
    assert code == 2
    assert "oodbench run" in err


@pytest.mark.parametrize("verb", [None, "run", "table", "check", "tune", "list", "data"])
def test_every_help_ends_with_two_lines_that_run(oodbench, verb):
    code, out, _ = oodbench(*([verb] if verb else []), "--help")
    assert code == 0
    examples = out.rstrip().splitlines()[-2:]
    if verb in ("table", "check"):
        assert oodbench("run", "--suite", "digits", "--detector", "msp", "--limit", "60", "--set", "epochs=1")[0] == 0
    for example in examples:
        program, *arguments = example.split()
        assert program == "oodbench"
        limit = "60" if "k=1,10,50" in arguments else "12"  # so many neighbours must there be
        quick = ["--limit", limit, "--set", "epochs=1"] if arguments[0] in ("run", "tune") else []
        if quick and "digits-adv" in arguments:
            quick += ["--set", "linf.steps=2", "--set", "compositional.steps=2"]
        assert oodbench(*arguments, *quick)[0] == 0


def test_python_m_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "oodbench", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("oodbench, version ")


def test_the_repository_has_no_results_in_it():
    tracked = subprocess.run(["git", "ls-files", "results"], capture_output=True, text=True, cwd=ROOT)
    assert all(name.startswith(("results/README.md", "results/reference/")) for name in tracked.stdout.split())
