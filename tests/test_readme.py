"""The examples of README and guides: what they compute, and every command, in its order."""

import doctest
import re
import shlex
import urllib.error
import urllib.request
from itertools import pairwise

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import oodbench as package
from oodbench.attacks import thorough_checks
from oodbench.running import prepared, runner
from oodbench.tasks import adaptive
from tests.prose import GUIDES, TEXT, blocks, one

pytestmark = pytest.mark.usefixtures("briefly_continued")

QUICK = ["--set", "epochs=1", "--set", "linf.steps=2", "--set", "compositional.steps=2", "--limit", "30"]


def commands(guide):
    """What stands in lines of their own, then the steps of a workflow."""
    lines = re.findall(r"^(oodbench .*?)(?:\s+#.*)?$", GUIDES[guide], re.MULTILINE)
    for text in blocks("yaml", GUIDES[guide]):
        (job,) = yaml.safe_load(text)["jobs"].values()
        lines += [step["run"] for step in job["steps"] if step.get("run", "").startswith("oodbench ")]
    return [shlex.split(line)[1:] for line in lines]


def test_numbers_are_what_they_are_said_to_be():
    runner = doctest.DocTestRunner()
    for number, example in enumerate(blocks("pycon")):
        runner.run(doctest.DocTestParser().get_doctest(example, {}, f"example {number}", "guides", 0))
    assert runner.summarize().attempted == 7
    assert runner.summarize().failed == 0


LEADERBOARD = (
    "Training,Postprocessor,Near-OOD_AUROC,Far-OOD_AUROC,ID_Accuracy,Outlier_Data,Arch,Additional_Description\n"
    "CrossEntropy,MSP,1,2,3,No,ResNet18,made up\n"
)
"""What a guide has downloaded from OpenOOD, as cifar10.csv."""


def test_every_table_that_is_shown_can_be_made(oodbench, stored, tmp_path):
    (tmp_path / "cifar10.csv").write_text(LEADERBOARD)
    for detector in ("msp", "atom"):
        stored(tmp_path / "results", detector=detector, task="clean")
    asked = [arguments for arguments in commands("reading-a-table") if arguments[0] in ("reference", "table")]
    assert [arguments[0] for arguments in asked].count("table") == 8
    for arguments in asked:
        code, out, err = oodbench(*arguments)
        assert code == 0, err
        if arguments[0] == "reference":
            continue
        assert "msp" in out and "seed 1" in out
        assert ("atom − msp (seed 1)" in out) == ("--against" in arguments)


def test_the_ci_file_guards_what_was_written_once(oodbench, tmp_path):
    detector = one("python", "(Detector):")
    (tmp_path / "entropy.py").write_text(detector)
    asked = commands("ci")
    assert [arguments[0] for arguments in asked] == ["run", "check", "run", "check"]
    for arguments in asked:
        code, out, err = oodbench(*arguments, *(QUICK if arguments[0] == "run" else []))
        assert code == 0, err
    assert re.fullmatch(r"(\d+) figures: \1 pass", out.splitlines()[-1])
    reference = pd.read_csv(tmp_path / "reference.csv")
    reference["value"] = 1 - reference["value"]
    reference["tolerance"] = 0.0
    reference.to_csv(tmp_path / "reference.csv", index=False)
    code, out, _ = oodbench(*asked[-1])
    assert code == 1
    assert "::error title=oodbench check::" in out
    assert (tmp_path / "check.xml").is_file()


def test_the_ci_file_is_one_that_github_reads():
    (text,) = blocks("yaml")
    workflow = yaml.safe_load(text)
    # YAML 1.1 reads the key `on` as true, and GitHub knows.
    assert workflow.keys() == {"name", True, "jobs"}
    assert workflow[True] == "push"
    (job,) = workflow["jobs"].values()
    assert job["runs-on"] == "ubuntu-latest"
    assert [step.keys() & {"uses", "run"} for step in job["steps"]] == [{"uses"}] * 2 + [{"run"}] * 3 + [{"uses"}]
    kept = job["steps"][-1]
    assert kept["if"] == "always()"  # a failed check is what the verdicts are wanted for
    assert kept["with"]["path"] in job["steps"][-2]["run"].split()


def test_the_network_of_ones_own_is_found_by_the_suite_that_names_it(reader):
    code, out, err = reader(*["run", "--suite", "birdnet.toml", "--detector", "msp", "--dry-run", "--limit", "4"])
    assert code == 0, err
    assert "network birdnet.py:BirdNet: head 'fc', 10 outputs of 32 features; taps body.1, body.3" in out


def test_the_version_to_cite_is_this_one():
    (bibtex,) = blocks("bibtex")
    assert f"version = {{{package.__version__}}}" in bibtex


CODE = "".join(code for language, code in re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL) if not language)
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
EVERY = list(
    dict.fromkeys(
        re.findall(r"^(oodbench .*?)(?:\s+#.*)?$", CODE, re.MULTILINE)
        + [" ".join(found.split()) for found in re.findall(r"`(oodbench [^`]*)`", PROSE)]
    )
)
"""Every command: those in lines of their own, and those in sentences."""

IN_TURN = ("oodbench evidence", "oodbench verify", "oodbench board")
"""What rests on what was done before: tests/board/test_board_guide.py does it in its order."""

PUBLIC = ("data fetch", "data show textures", "--suite imagenet", "--suite cifar10-small")
"""Commands that need what the net or the user's own disk has."""


def toml_files():
    """Suites in the guides by the file that they are said to be."""
    found = re.findall(r"```toml\n(?:# (\S+\.toml).*\n)?((?:.*\n)*?)```", TEXT)
    return {name or "mine.toml": text for name, text in found}


@pytest.fixture
def reader(oodbench, tmp_path, stored, monkeypatch):
    """Somebody who has done what the guides say up to here, and has no net."""
    detector = one("python", "(Detector):")
    (tmp_path / "entropy.py").write_text(detector)
    (tmp_path / "birdnet.py").write_text(one("python", "# birdnet.py"))
    names: dict[str, type[torch.nn.Module]] = {}
    exec((tmp_path / "birdnet.py").read_text(), names)
    torch.save(names["BirdNet"](10).state_dict(), tmp_path / "birdnet.pt")
    (tmp_path / "cifar10.csv").write_text(LEADERBOARD)
    for name, text in toml_files().items():
        (tmp_path / name).write_text(text)
    for red, place in enumerate(("birds/train", "birds/test", "boats", "planes")):
        for number in range(10):
            folder = tmp_path / "photos" / place / str(number)
            folder.mkdir(parents=True)
            Image.new("RGB", (40, 36), (60 * red, 20 * number, 90)).save(folder / "1.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("birds/train", "birds/test", "boats"):
        assert oodbench("data", "pack", tmp_path / "photos" / name, name.replace("/", "-"))[0] == 0
    for detector in ("msp", "atom"):
        stored(tmp_path / "results", detector=detector, task="clean")
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    return oodbench


def unreachable(*_, **__):
    raise urllib.error.URLError("no net here")


SHORT = {"linf": "linf.steps=2", "compositional": "compositional.steps=2", "linf-adaptive": "linf-adaptive.level=quick"}
"""What shortens a task, where numbers do not matter."""


def shortened(arguments):
    """Options that shorten the attacks of a run."""
    asked = [word for before, word in pairwise(arguments) if before == "--task"]
    tasks = asked or (["linf-adaptive"] if "birds.toml" in arguments else ["linf", "compositional"])
    changes = [SHORT[task] for task in tasks if task in SHORT]
    return [word for change in changes if change not in arguments for word in ("--set", change)]


@pytest.mark.parametrize("command", [one for one in EVERY if not one.startswith(IN_TURN)])
def test_every_command_works_as_it_is_written(reader, monkeypatch, command):
    arguments = shlex.split(command)[1:]
    if "all" in arguments:
        monkeypatch.setattr(runner, "execute", lambda *_, **__: [])  # planned to the last pass, and left at that
        monkeypatch.setattr(prepared, "on_ray", lambda *_: [])  # tests/running/test_ray.py has a cluster
    if arguments[0] == "run" and len(arguments) > 1:
        arguments += ["--jobs", "1"] if "all" in arguments and "--engine" not in arguments else []
        arguments += ["--limit", "4"] + (["--set", "epochs=1"] if re.search("digits|birds", command) else [])
    if command == "oodbench check":  # the verb, spoken of
        arguments += ["--reference", "new.csv", "--update"]
    if arguments[:2] == ["data", "export"]:  # it is spoken of where images are kept
        attack = "run --suite digits-adv --detector msp --task linf --only letters --keep-images --limit 4"
        assert reader(*attack.split(), *QUICK[:4])[0] == 0
    if arguments[0] == "keep":  # what has been trained
        arguments += ["--set", "epochs=1"]
        assert reader("run", *arguments[1:5], "--only", "letters", "--set", "epochs=1", "--jobs", "1")[0] == 0
    if arguments[0] in ("run", "tune") and re.search("digits-adv|birds", command):
        arguments += shortened(arguments)
    if "birds.toml" in arguments:  # a large network, attacked by all that there is: here, where that can be shortened
        arguments += ["--images", "1", "--jobs", "1"]
        monkeypatch.setitem(adaptive.LEVELS, "quick", adaptive.Budget(starts=1, score=3, adam=3, blind=10))
    if "full" in arguments:
        for name, fewer in (("LONG_CLIMB", 4), ("SHORT_CLIMB", 2), ("SQUARE_QUERIES", 5)):
            monkeypatch.setattr(thorough_checks, name, fewer)
    if arguments[0] == "threshold":  # of the few images that there are, 95 % cannot be promised
        arguments = ["0.5" if before == "--keep" else word for before, word in pairwise(["", *arguments])]
    if (
        arguments[0] in ("run", "fit", "score", "export", "features", "plot") and len(arguments) == 1
    ):  # the verb, spoken of
        arguments += ["--help"]
    if "energy.ood" in arguments and arguments[0] != "fit":  # what was fitted before
        assert reader(*["fit", "--suite", "digits", "--detector", "energy", "--pretrained", "-o", "energy.ood"])[0] == 0
    if "--features" in arguments:  # what was exported before; nothing is trained there
        made = ["features", "--suite", "digits", "--pretrained", "--limit", "40", "-o", "digits.features"]
        assert reader(*made)[0] == 0
        arguments = [*shlex.split(command.replace("FILE", "digits.features"))[1:], "--jobs", "1"]
    if "board.csv" in arguments and arguments[0] == "table":  # what was imported before
        (imported,) = (line for line in commands("reading-a-table") if line[0] == "reference")
        assert reader(*imported)[0] == 0
    if arguments[0] == "tune":
        arguments += ["--limit", "40", "--set", "epochs=1"]
    code, _, err = reader(*arguments)
    if any(part in command for part in PUBLIC):
        assert code in (0, 2), err
        assert code == 0 or re.search("could not be fetched|data fetch|into data/downloads|Nobody publishes|login", err)
    else:
        assert code == 0, err
