"""One description of a run: what the command line takes, Python takes too, with the same defaults."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
import torch

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.cli import commands
from oodbench.networks.wrapping import Wrapping
from oodbench.registry import discover
from oodbench.running.config import RunConfig
from oodbench.running.prepared import prepared
from oodbench.suite import NetworkSpec
from oodbench.suitefiles import suitefile
from oodbench.suitefiles.settings import Setting

FIELDS = {field.name: field for field in fields(RunConfig)}
REFERENCE = Path(oodbench.__file__).parent.parent / "results" / "reference"

OTHERWISE = {"seeds": "seed", "checks": "thorough", "assignments": "parameters", "rerun": "again"}
"""Options that are typed in another way than a program says it."""


@pytest.fixture(scope="module")
def registry():
    return discover()


def requested(registry, *asked, **how):
    return RunConfig(*asked, **how).request(registry, torch.device("cpu"))


OWN = {
    "run": (["--suite", "digits", "--detector", "msp"], {"suites", "detectors", "dry_run"}),
    "tune": (["--suite", "digits", "--detector", "msp"], {"suite", "detector", "over"}),
    "keep": (
        ["--suite", "digits", "--detector", "msp", "--into", "x"],
        {"suite", "detectors", "shelf", "overwrite", "by_word"},
    ),
}
"""What each verb must be given, and what of its options has no default that Python shares."""


@pytest.mark.parametrize("verb", OWN)
def test_every_option_of_a_verb_is_part_of_the_description_with_its_default(monkeypatch, verb):
    monkeypatch.delenv("OODBENCH_DATA", raising=False)
    arguments, own = OWN[verb]
    values = commands.commands[verb].make_context(verb, arguments).params
    same = {name: str(value) for name, value in values.items() if name not in {*own, *OTHERWISE, "radii"}}
    assert len(same) > 4
    assert same == {name: str(FIELDS[name].default) for name in same}


def test_everything_that_python_takes_can_be_typed_and_is_explained():
    typed = {OTHERWISE.get(option.name, option.name) for option in commands.commands["run"].params}
    of_network = {field.name for field in fields(Wrapping)}  # typed as --set network.NAME=VALUE
    assert of_network < {field.name for field in fields(NetworkSpec)}
    assert typed - {"dry_run"} | {"say"} == set(FIELDS) - of_network  # a program looks at the plan itself
    asked = list(inspect.signature(oodbench.run).parameters)
    assert asked[:2] == ["suites", "detectors"]
    assert sorted(asked) == sorted(FIELDS)
    explained = inspect.getdoc(oodbench.run).split("Args:")[1]
    assert all(f"\n    {name}: " in explained for name in FIELDS)


def test_names_are_one_or_several_or_all_and_count_once(registry):
    one = requested(registry, "digits", "msp")
    assert [suite.name for suite in one.suites] == ["digits"]
    assert [detector.name for detector in one.detectors] == ["msp"]
    twice = requested(registry, ["digits", "digits-adv", "digits"], ["atom", "msp", "atom"])
    assert [suite.name for suite in twice.suites] == ["digits", "digits-adv"]
    assert [detector.name for detector in twice.detectors] == ["atom", "msp"]
    every = requested(registry, "all", ["all"])
    assert [suite.name for suite in every.suites] == suitefile.names()
    special = [name for name in registry.names() if registry[name].only_by_name]
    assert special == ["dropout", "gl-mcm", "mcm", "neglabel"]  # no network here drops features or knows texts
    assert [detector.name for detector in every.detectors] == [name for name in registry.names() if name not in special]
    assert [each.name for each in requested(registry, "digits", ["all", *special]).detectors] == registry.names()


def test_seeds_are_one_or_several_and_survive_being_read(registry):
    assert RunConfig("digits", "msp").seeds == (1,)
    config = RunConfig("digits", "msp", seed=(seed for seed in (3, 5)))
    assert config.seeds == config.seeds == (3, 5)
    assert config.request(registry, torch.device("cpu")).seed == 3


def test_what_is_asked_of_suites_reaches_them(registry):
    found = requested(registry, "digits-adv", "msp", tasks=["linf"], only=["letters"], radii=[2, 8], threat="both")
    (suite,) = found.suites
    assert [ood.set for ood in suite.tested] == ["letters"]
    assert {name: (task.epsilon, task.side) for name, task in suite.tasks.items()} == {
        "linf-both-eps2": (2, "both"),
        "linf-both-eps8": (8, "both"),
    }


def test_parameters_are_a_mapping_or_settings_in_their_order(registry):
    as_mapping = requested(registry, "digits", "msp", parameters={"epochs": 1, "linf.steps": 2})
    assert [setting.text for setting in as_mapping.settings] == ["epochs=1", "linf.steps=2"]
    typed = [Setting("epochs", 1), Setting("epochs", 2)]
    assert requested(registry, "digits", "msp", parameters=typed).settings == tuple(typed)
    assert requested(registry, "digits", "msp").settings == ()


@pytest.mark.parametrize(
    "how, said",
    [
        (dict(engine="rya"), "did you mean 'ray'"),
        (dict(seed=[]), "no seeds"),
        (dict(seed=-1), "a seed is -1: give whole numbers from 0"),
        (dict(seed=[1, 1.5]), "a seed is 1.5"),
        (dict(seed=2**63), "give whole numbers from 0"),
        (dict(seed=True), "a seed is True"),
        (dict(checkpoint="x", pretrained=True), "exclude each other"),
        (dict(jobs=0), "number of processes"),
        (dict(plugins=["nowhere.py"]), "nowhere.py"),
        (dict(only=["lettres"]), "did you mean 'letters'"),
        (dict(device="gpu"), "is not a device"),
        (dict(device="cpu", tf32=True), "--tf32 is a rounding of NVIDIA GPUs, and this run is on cpu"),
        (dict(checkpoint="nowhere.pt"), "nowhere.pt"),
        (dict(limit=0), "limit is 0: give a whole number of images, 1 or more"),
        (dict(images=2.5), "images is 2.5"),
        (dict(only="lettres"), "unknown .*'lettres'"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, how, said):
    with pytest.raises(OodbenchError, match=said), prepared(RunConfig("digits", "msp", out=tmp_path / "out", **how)):
        pass
    assert not Path(tmp_path / "out").exists()


def test_tune_takes_one_of_each(oodbench):
    code, _, err = oodbench("tune", "--suite", "all", "--detector", "knn")
    assert code == 2
    assert "name them" in err


def test_what_a_network_that_is_given_makes_idle_is_said(registry, tmp_path):
    network = kept(tmp_path)
    said = []
    requested(registry, "digits", "msp", checkpoint=network, parameters={"epochs": 3, "knn.k": 5}, say=said.append)
    (line,) = said
    assert "--set epochs=3: a checkpoint is given and nothing is trained" in line
    # An epoch is a parameter of `good`, too, whose bounds are ramped up over them.
    requested(registry, "digits", "good", checkpoint=network, parameters={"epochs": 3}, say=said.append)
    requested(registry, "digits", "msp", pretrained=True, parameters={"epochs": 3}, say=said.append)
    assert len(said) == 1


def test_a_module_is_said_to_get_images_as_they_are(registry):
    module, said = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10)).eval(), []
    requested(registry, "digits", "msp", network=module, say=said.append)
    assert len(said) == 1 and "as they are; mean and std of digits are of that suite's own network" in said[0]
    for how in ({"mean": "inside"}, {"mean": (0.5,) * 3, "std": (0.5,) * 3}):
        requested(registry, "digits", "msp", network=module, say=said.append, **how)
    assert len(said) == 1


def kept(folder):
    path = folder / "network.safetensors"
    path.write_bytes((REFERENCE / "networks" / "digits" / "plain.safetensors").read_bytes())
    return path
