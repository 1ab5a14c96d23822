"""The page of real photographs says what the reference holds, and the reference holds when it is scored again."""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from docs._pages.other_networks import doubted
from docs._pages.real_photographs import BEGIN, END, PAGE, PICTURE, SUITE, TASKS
from oodbench.registry import discover
from oodbench.results import reference
from oodbench.results.check import Status, check
from oodbench.results.folder import find_results
from oodbench.results.tables import tidy
from oodbench.training import pretrained
from tests.realimages import needs_real_images, real_images

SETS = ("svhn-test-10k", "textures-10classes", "tinyimagenet-heldout")
MEAN = f"mean:{'+'.join(SETS)}"
SCORES = PAGE.parents[1] / "results" / "reference" / "scores" / f"{SUITE}.zip"
DETECTORS = ("msp", "oe", "acet", "ntom", "atom")
IMAGES = 200


@pytest.fixture(scope="module")
def measured():
    rows = reference.shipped_reference("measured")
    return rows[(rows["suite"] == SUITE) & (rows["settings"] == "")]


@pytest.fixture(scope="module")
def table():
    """By detector and column of the page: the two figures of each cell, as text."""
    block = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip().splitlines()
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in block]
    return {(row[0], column): cell for row in body for column, cell in zip(head[1:], row[1:], strict=True)}


def mean(rows, metric):
    """Over the sets, of what the most images were measured on; 0 stands for all of them."""
    rows = rows[rows["metric"] == metric]
    rows = rows[rows["images"] == (0 if (rows["images"] == 0).any() else rows["images"].max())]
    # A network that is not kept is trained anew by whoever checks, and its mean alone is held.
    of_sets, of_means = (rows[rows["ood"].isin(names)].set_index("ood")["value"] for names in (SETS, [MEAN]))
    return 100 * (of_means.iloc[0] if len(of_means) else of_sets.reindex(SETS).mean(skipna=False))


def test_every_figure_of_the_table_is_the_references(table, measured):
    columns = {called: task for task, called in TASKS.items()}
    compared = 0
    for (detector, column), cell in table.items():
        rows = measured[measured["detector"] == detector]
        if column == "accuracy":
            assert {f"{100 * value:.2f}" for value in rows[rows["metric"] == "accuracy"]["value"]} == {cell}
        elif cell != "–":
            rows = rows[rows["task"] == columns[column]]
            assert cell.rstrip("‡") == f"{mean(rows, 'fpr95'):.2f} / {mean(rows, 'auroc'):.2f}", (detector, column)
        compared += cell != "–"
    assert compared > 200


@pytest.fixture(scope="module")
def intervals():
    """Ends of the 95 % intervals of means over the sets, in percent: the means of the sets' ends."""
    command = [sys.executable, "-m", "oodbench", "table", str(SCORES), "--intervals", "--format", "csv"]
    command += ["--detector", "msp", "--detector", "atom", "--task", "linf", "--task", "linf-adaptive"]
    found = pd.read_csv(StringIO(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    of_most = found[found["images"] == 1000].groupby(["detector", "task", "metric"])[["low", "high"]].mean()
    return {f"{100 * end:.2f}" for end in of_most.to_numpy().flat}


def test_every_figure_of_the_text_is_one_of_the_table_or_the_reference(table, measured, intervals):
    page = PAGE.read_text(encoding="utf-8")
    says = page.split("## What it says")[1].split("## When ID images are attacked, too")[0]
    shown = {number for cell in table.values() for number in re.findall(r"\d+\.\d\d", cell)}
    ends = {f"{100 * value:.2f}" for name in ("low", "high") for value in measured[name].dropna()}
    assert len(figures := re.findall(r"\d+\.\d\d", says)) > 8
    assert [one for one in figures if one not in shown | ends | intervals] == []
    assert "59.51" in intervals - shown


def test_how_many_detectors_there_are_and_where_they_were_attacked(table, measured):
    page = PAGE.read_text(encoding="utf-8")
    count = len({detector for detector, _ in table})
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"how well {count} of oodbench's detectors" in page and f"{count} detectors" in readme
    attacked = measured[measured["task"] == "linf-adaptive"]
    on_gpu = attacked[attacked["hardware"].str.contains("H100")]["detector"].nunique()
    assert f"ran on an H100 for {on_gpu} of the detectors" in page
    both = measured[measured["task"] == "linf-adaptive-both"]
    assert "what attacks both sides on a CPU" in page and both["hardware"].str.contains("CPU").all()


def test_what_is_left_when_both_sides_move_is_the_references(table):
    rows = reference.shipped_reference("measured")
    rows = rows[(rows["suite"] == SUITE) & (rows["task"] == "linf-adaptive-both")]
    said = re.findall(r"\| ([\w+-]+) \| (\S+ / \S+) \| (\S+ / \S+) \|", PAGE.read_text(encoding="utf-8"))
    lost = set(rows["detector"]) - {name for name, _, _ in said}
    assert len(said) == 9
    cells = [cell for cell in find_results(SCORES).cells if cell.path.parent.name in {name for name, _, _ in said}]
    frame = tidy(cells, {})
    marked = doubted(frame[frame["limit"] == 200])
    for name, of_ood, of_both in said:
        own = rows[rows["detector"] == name]
        assert of_ood == table[name, "adaptive"]
        mark = "‡" * ((SUITE, name, "linf-adaptive-both") in marked)
        assert of_both == f"{mean(own, 'fpr95'):.2f} / {mean(own, 'auroc'):.2f}{mark}"
    left = {name: f"{mean(rows[rows['detector'] == name], 'auroc'):.2f}" for name in lost}
    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"DivOE with {left.pop('divoe')} and CCU with {left.pop('ccu')}. **None of these twenty methods" in text
    assert set(left) == {"msp", "oe", "ntom", "sofl", "rowl", "logitnorm", "energy-ft", "mixoe", "vos"}
    assert set(left.values()) == {"0.00"} and len(said) + len(lost) == 20


def test_what_is_measured_here_beside_the_paper_stands_in_the_table(table):
    for name, *cells in re.findall(r"\| (\w+), measured here \| (.*?) \| (.*?) \| (.*?) \|", PAGE.read_text("utf-8")):
        assert cells == [table[name.lower(), column].rstrip("‡") for column in ("clean", "linf", "compositional")]


def test_what_is_published_beside_it_stands_in_the_published_reference():
    published = reference.shipped_reference("published")
    rows = published[(published["suite"] == "cifar10-adv") & (published["ood"] == "mean:paper")]
    value = rows.set_index(["detector", "task", "metric"])["value"]
    found = re.findall(r"\| (\w+), published \| (.*?) \| (.*?) \| (.*?) \|", PAGE.read_text("utf-8"))
    assert len(found) == 3
    for name, *cells in found:
        for task, cell in zip(("clean", "linf", "compositional"), cells, strict=True):
            both = (100 * value[name.lower(), task, metric] for metric in ("fpr95", "auroc"))
            assert cell == " / ".join(f"{one:.2f}" for one in both)


def test_the_picture_shows_every_detector_of_the_table(table):
    drawn = set(re.findall(r'text-anchor="end">([^<]+)<', PICTURE.read_text(encoding="utf-8")))
    assert drawn == {detector for detector, _ in table}


def test_the_networks_behind_the_table_are_kept(measured):
    named = {name for name in measured["checkpoint"] if name}
    kept = pretrained.roots(Path("none"))[0] / "cifar10-small"
    page = " ".join(PAGE.read_text("utf-8").split())
    assert "networks of CCU (40 MB), ATD (3.3 MB), DivOE, MixOE and VOS are not kept" in page
    not_kept = {"atd.safetensors", "ccu.safetensors", "divoe.safetensors", "mixoe.safetensors", "vos.safetensors"}
    assert named - not_kept == {file.name for file in kept.glob("*.safetensors")}
    assert sum(file.stat().st_size for file in kept.iterdir()) < 20e6


def test_the_scores_that_come_along_give_the_figures():
    assert SCORES.stat().st_size < 20e6
    cells, rows = find_results(SCORES).cells, reference.shipped_reference("measured")
    rows = rows[rows["suite"] == SUITE]
    assert {cell.path.parent.name for cell in cells} == set(rows["detector"])
    few = [cell for cell in cells if cell.path.parent.name in ("atom", "kplus1-at")]
    rows = rows[rows["detector"].isin(["atom", "kplus1-at"])]
    verdicts = check(few, rows, discover())
    assert len(verdicts) > 100
    assert [one.said for one in verdicts if one.status is not Status.PASS] == []


@needs_real_images
def test_a_part_of_the_table_scored_again_holds(oodbench, measured, tmp_path):
    """Clean and under linf, 200 images of each set, with the networks that are kept: each figure to its tolerance."""
    folder = real_images(["cifar10-test", *SETS])
    chosen = [word for name in DETECTORS for word in ("--detector", name)]
    chosen += [word for name in SETS for word in ("--only", name)]
    chosen += ["--task", "clean", "--task", "linf", "--images", IMAGES, "--pretrained", "--data", folder]
    code, _, err = oodbench("run", "--suite", SUITE, "--device", "cpu", "--out", tmp_path, *chosen)
    assert code == 0, err
    rows = measured[(measured["images"] == IMAGES) & measured["detector"].isin(DETECTORS)]
    rows = rows[rows["task"].isin(["id", "clean", "linf"])]
    verdicts = check(find_results(tmp_path).cells, rows, discover())
    assert [one.said for one in verdicts if one.status is not Status.PASS] == []
    # Accuracy; FPR@95 both ways and AUROC under two tasks on three sets.
    assert len(verdicts) == len(DETECTORS) * (1 + 3 * 2 * len(SETS))
