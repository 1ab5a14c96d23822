"""What people install: wheel and source distribution, somebody else's plugin package, the examples in the guides."""

import os
import re
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from oodbench import cli
from oodbench.cli.work.list import suite_table
from oodbench.registry import discover
from oodbench.suitefiles import suitefile
from oodbench.version import __version__
from tests import environments
from tests.prose import GUIDES, one

ROOT = Path(__file__).parent.parent


def command(*arguments, path, cwd):
    """`python -m oodbench` in another folder, with `path` in front of whatever is installed."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-m", "oodbench", *arguments], env=environment, cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clean copy of the tracked tree, in a folder that is called as a clone is."""
    source = tmp_path_factory.mktemp("source") / "oodbench"
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    return source


@pytest.fixture(scope="module")
def distributions(clone):
    """The folder of a freshly built wheel and source distribution."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", clone / "dist", clone]
    subprocess.run(build, check=True, capture_output=True)
    return clone / "dist"


@pytest.fixture(scope="module")
def editable(clone, tmp_path_factory):
    """The Python of a fresh environment with an editable install of the clone, and all else from this environment."""
    return environments.editable(clone, tmp_path_factory.mktemp("environment"))


def test_the_wheel_holds_the_three_packages_and_nothing_at_the_top(distributions):
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for expected in (
        "oodbench/cli/verbs.py",
        "oodbench/sources/lists/places365-test-10000.txt.gz",
        "oodbench/sources/lists/openimage-o-openood-validation.txt.gz",
        "oodbench/py.typed",
        "oodbench/results/report/page.html",
        "oodbench/results/report/page.css",
        "oodbench/results/report/page.js",
        "oodbench/results/report/vendor/plot.umd.min.js",
        "oodbench/results/report/vendor/plot.LICENSE",
        "oodbench/detectors/atom.py",
        "oodbench/suites/digits-adv.toml",
        "oodbench/figures/published.csv",
        "oodbench/figures/measured.csv",
        "oodbench/figures/openood.toml",
        "oodbench/figures/networks/digits/index.json",
        "oodbench/figures/networks/digits/atom.safetensors",
    ):
        assert expected in names
    networks = [name for name in names if name.endswith(".safetensors")]
    assert networks
    assert all(name.startswith("oodbench/figures/networks/digits/") for name in networks)  # small ones alone
    assert "oodbench/figures/networks/digits/atd.safetensors" not in networks
    assert {name.split("/")[0] for name in names} == {"oodbench", "oodbench-0.1.0.dist-info"}


def test_the_wheel_holds_all_code_and_no_dead_weight(distributions, clone):
    (wheel,) = distributions.glob("*.whl")
    held = {one.filename: one.file_size for one in zipfile.ZipFile(wheel).infolist()}
    code = {path.relative_to(clone).as_posix() for path in (clone / "oodbench").rglob("*.py")}
    for folder in ("detectors", "suites"):
        code |= {f"oodbench/{path.relative_to(clone).as_posix()}" for path in (clone / folder).rglob("*.py")}
    assert {name for name in held if name.endswith(".py")} - code == {"oodbench/figures/__init__.py"}
    assert code - held.keys() == set(), "a package that setup.cfg does not name"
    parts = {part for name in held for part in name.split("/")[:-1]}
    assert not parts & {"tests", "docs", "benchmarks", "studies", "backend", "__pycache__"}
    assert sum(held.values()) < 12e6


def test_the_installed_wheel_runs_anywhere(distributions, tmp_path):
    """The wheel was built from the source distribution, as `python -m build` does."""
    (wheel,) = distributions.glob("*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    assert (tmp_path / "site/bin/oodbench").is_file()
    listed = command("list", "detectors", path=tmp_path / "site", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "atom" in listed.stdout
    assert "digits-adv" in command("list", "suites", path=tmp_path / "site", cwd=tmp_path).stdout


def test_the_source_distribution_holds_what_builds_it_and_nothing_by_halves(distributions):
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {
        "setup.cfg",
        "pyproject.toml",
        "backend/editable.py",
        "README.md",
        "LICENSE",
        "detectors/atom.py",
        "suites/digits.toml",
    } <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {
        *("backend", "detectors", "oodbench", "oodbench.egg-info", "results", "suites")
    }


def test_somebody_elses_package_stands_in_list_and_run(tmp_path):
    package = tmp_path / "package"
    (package / "margin").mkdir(parents=True)
    (package / "pyproject.toml").write_text(
        textwrap.dedent("""
            [build-system]
            requires = ["setuptools"]
            build-backend = "setuptools.build_meta"

            [project]
            name = "oodbench-margin"
            version = "1.0"

            [project.entry-points."oodbench.detectors"]
            margin = "margin.detector"
        """)
    )
    (package / "margin" / "__init__.py").touch()
    (package / "margin" / "detector.py").write_text(
        textwrap.dedent('''
            from oodbench.detector import Detector


            class Margin(Detector):
                """The two largest logits' difference."""

                name = "margin"
                paper = "nobody, nowhere"

                def score_representation(self, representation):
                    first, second = representation.logits.double().topk(2).values.unbind(1)
                    return first - second
        ''')
    )
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", tmp_path / "site", package]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    assert "margin" in command("list", "detectors", path=tmp_path / "site", cwd=tmp_path).stdout
    quick = ["--limit", "40", "--set", "epochs=1"]
    ran = command("run", "--suite", "digits", "--detector", "margin", *quick, path=tmp_path / "site", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "seed 1" in ran.stdout and "\nmargin" in ran.stdout


def test_the_guides_detector_and_suite_run(tmp_path, monkeypatch, capsys):
    detector, pack = one("python", "(Detector):"), one("python", "write_pack(")
    suite, fine_tuned, own = (one("toml", what) for what in ("digits-adv", "fine-tuned.toml", "# birds.toml:"))
    monkeypatch.chdir(tmp_path)
    Path("entropy.py").write_text(detector)
    Path("mine.toml").write_text(suite)
    arguments = ["run", "--suite", "mine.toml", "--detector", "entropy", "--plugin", "entropy.py"]
    quick = ["--limit", "40", "--set", "epochs=1", "--set", "linf.steps=2"]
    monkeypatch.setattr(sys, "argv", ["oodbench", *arguments, *quick])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    assert caught.value.code == 0, err
    assert re.search(r"^entropy +[\d.]+", out, re.M) and "linf.steps=2" in out
    assert "OOD images attacked within 64/255 (L-infinity)" in out
    Path("fine-tuned.toml").write_text(fine_tuned)
    assert suitefile.load("fine-tuned.toml").training.start == "resnet50-imagenet"
    Path("birds.toml").write_text(own)
    assert [ood.set for ood in suitefile.load("birds.toml").ood] == ["boats"]
    exec(compile(pack, "guide", "exec"), {})  # our own text
    assert Path("data/mine.h5").is_file()


def test_the_guides_table_of_suites_is_what_the_suites_say():
    assert f"\n\n{suite_table()}\n\n" in GUIDES["your-suite"]


def test_the_guide_names_every_detector():
    missing = [name for name in discover().names() if f"`{name}`" not in GUIDES["detectors"]]
    assert missing == []


WHERE = """
import oodbench, oodbench.version, oodbench.detectors, oodbench.suites
print(oodbench.__version__, oodbench.__file__, oodbench.run.__module__, oodbench.evaluate.__module__)
print(oodbench.version.__file__, oodbench.detectors.__file__, oodbench.suites.__file__)
"""


def test_an_editable_clone_is_imported_beside_its_folder(clone, editable):
    """There `oodbench` is the clone's folder before it is the package, and no package by itself."""
    said = subprocess.run([editable, "-c", WHERE], cwd=clone.parent, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    package = clone / "oodbench"
    assert said.stdout.split() == [
        __version__,
        *(str(package / "__init__.py"), "oodbench.api", "oodbench.api"),
        *(str(package / "version.py"), str(clone / "detectors/__init__.py"), str(clone / "suites/__init__.py")),
    ]
    shown = subprocess.run([editable, "-m", "oodbench", "--version"], cwd=clone.parent, capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, f"oodbench, version {__version__}\n"), shown.stderr


def test_a_package_on_the_path_still_goes_before_an_editable_install(distributions, editable, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = "import oodbench; print(oodbench.__file__)"
    said = subprocess.run([editable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert said.stdout.strip() == str(tmp_path / "site/oodbench/__init__.py"), said.stderr
