"""Files that a repository is expected to have: they agree with the project."""

import configparser
import re

import pytest
import yaml

from oodbench.version import __version__
from tests.prose import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow):
    """What a workflow runs."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_there_is_and_cannot_hang(workflow):
    # YAML 1.1 reads the key `on` as true, and GitHub knows.
    read = yaml.safe_load(workflow.read_text())
    assert read.keys() <= {"name", True, "jobs", "permissions"}
    assert {word for text in steps(workflow) for word in re.findall(r"make (\w+)", text)} <= TARGETS
    assert all("timeout-minutes" in job or "needs" in job for job in read["jobs"].values())


def test_tests_run_under_every_python_that_is_promised():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    promised = re.findall(r"Python :: (\d\.\d+)", setup["metadata"]["classifiers"])
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == promised


def test_who_cites_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
