"""Somebody who has never seen the project: a fresh clone, the README's lines, a network of their own, its table.

Assumed, as both take minutes and a network: the environment that `make demo` builds (here one with this environment's
libraries and an editable install of the clone), and the two trainings of the demo. `.ci/run` does both from nothing.
"""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests import environments
from tests.prose import ROOT

BIRDNET = '''
import torch
from torch import nn

torch.manual_seed(0)


class BirdNet(nn.Module):
    """A classifier of two kinds of birds that somebody has trained: red ones and blue ones."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(8, 2)

    def forward(self, images):
        return self.fc(self.features(images))


module = BirdNet().eval()
'''


def photographs(folder, colour, count):
    folder.mkdir(parents=True)
    draw = np.random.default_rng([*colour, count])
    for number in range(count):
        pixels = np.clip(np.array(colour) + draw.normal(0, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What `git clone` gives: the last commit, without what lies beside it."""
    if not (ROOT / ".git").exists() or not all(map(shutil.which, ("git", "make", "bash"))):
        pytest.skip("no repository to clone, or no git, make or bash")
    folder = tmp_path_factory.mktemp("home") / "oodbench"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), folder], check=True, capture_output=True)
    environments.editable(folder, folder / ".venv")
    (folder / ".venv/.installed").touch()
    return folder


@pytest.fixture(scope="module")
def readme(clone):
    return (clone / "README.md").read_text(encoding="utf-8")


def shell(clone, *lines):
    """Standard output of lines that are typed one after the other in the clone."""
    ran = subprocess.run(["bash", "-ec", "\n".join(lines)], cwd=clone, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_demo_does_what_the_readme_says_it_does(clone, readme):
    section = readme.split("## Try it")[1].split("\n## ")[0]
    said = re.findall(r"^(oodbench .*)$", section, re.MULTILINE)
    done = re.findall(r"\.venv/bin/(oodbench .*)$", shell(clone, "make --dry-run demo"), re.MULTILINE)
    assert said == done and len(said) == 3


def test_from_a_clone_to_the_table_of_ones_own_model(clone, readme):
    photographs(clone / "birds/train/red", (200, 40, 40), 30)
    photographs(clone / "birds/train/blue", (40, 40, 200), 30)
    photographs(clone / "birds/test/red", (200, 40, 40), 4)
    photographs(clone / "birds/test/blue", (40, 40, 200), 4)
    photographs(clone / "boats", (120, 120, 120), 3)
    (code,) = re.findall(r"```python\n(.*?)```", readme.split("## Your model in five minutes")[1], re.DOTALL)
    (clone / "mine.py").write_text(BIRDNET + code)
    (activated,) = re.findall(r"^(source \S+)", readme, re.MULTILINE)
    table = shell(
        clone, activated, "command -v oodbench", "oodbench --version", "python -W error::SyntaxWarning mine.py"
    )
    assert str(clone / ".venv/bin/oodbench") in table
    for detector in re.findall(r"detectors=\[(.*?)\]", code)[0].replace('"', "").split(", "):
        for task in ("clean", "linf-adaptive"):
            assert re.search(rf"{detector} +boats +{task} +[01]\.\d", table), table
