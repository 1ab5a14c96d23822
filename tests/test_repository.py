"""Files that a repository is expected to have: they agree with the project."""

import configparser
import re
import tomllib

import pytest
import yaml

from oodbench.version import __version__
from tests.prose import README, ROOT

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


def test_what_publishes_the_site_finds_what_it_calls():
    (published,) = (text for text in steps(ROOT / ".github/workflows/docs.yml") if "mike deploy" in text)
    assert published.index('export PATH="$PWD/.venv/bin:$PATH"') < published.index("mike deploy"), "it calls mkdocs"


def test_tests_run_under_every_python_that_is_promised():
    promised = re.findall(r"Python :: (\d\.\d+)", setup()["metadata"]["classifiers"])
    matrix = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == promised


def test_who_cites_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def setup():
    read = configparser.ConfigParser()
    read.read(ROOT / "setup.cfg")
    return read


CONDA = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}
"""What conda-forge calls packages that have another name there."""


def test_the_conda_recipe_says_what_setup_cfg_says():
    recipe = yaml.safe_load((ROOT / "recipe/meta.yaml").read_text())
    metadata, options = setup()["metadata"], setup()["options"]
    assert recipe["package"] == {"name": metadata["name"], "version": __version__}
    needed = [re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in options["install_requires"].split()]
    wanted = [f"{CONDA.get(name, name)} {bound}" for name, bound in needed]
    assert sorted(recipe["requirements"]["run"]) == sorted([*wanted, f"python {options['python_requires']}"])
    assert recipe["build"]["entry_points"] == setup()["options.entry_points"]["console_scripts"].strip().splitlines()
    assert recipe["about"]["license"] == metadata["license"]
    assert (ROOT / recipe["about"]["license_file"]).is_file()
    (built,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert re.sub(r"(>=)", r" \1", built) in recipe["requirements"]["host"]


def test_badges_are_true():
    badges = re.findall(r"^\[!\[(.*?)\]\((.*?)\)\]\((.*?)\)", README, re.MULTILINE)
    assert {name for name, _, _ in badges} == {"tests", "docs", "Python", "licence"}
    promised = re.findall(r"Python :: (\d\.\d+)", setup()["metadata"]["classifiers"])
    for name, picture, target in badges:
        if name in ("tests", "docs"):  # GitHub draws these from the last run
            workflow = re.fullmatch(r"\.\./\.\./actions/workflows/(\w+\.yml)/badge\.svg", picture).group(1)
            assert ROOT / ".github/workflows" / workflow in WORKFLOWS
            assert target == f"../../actions/workflows/{workflow}"
            assert yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text())["name"] == name
        else:
            assert (ROOT / target).is_file()
    said = {name: picture.rpartition("/")[2] for name, picture, _ in badges}
    assert said["Python"] == f"python-{promised[0]}%20to%20{promised[-1]}-blue"
    assert said["licence"] == f"licence-{setup()['metadata']['license'].replace('-', '--')}-blue"
